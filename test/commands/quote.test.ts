// Names that others chose, pasted as they are printed: nothing in them runs, and SQL names the very object.
import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { type Finding, wrong } from "../../commands/doctor/finding.ts";
import { lookAtMoreRights } from "../../commands/doctor/more-rights.ts";
import { linesOf } from "../../commands/doctor/print.ts";
import { lookAtRights } from "../../commands/doctor/rights.ts";
import { lookAtStatus } from "../../commands/doctor/status.ts";
import { lookAtTable } from "../../commands/doctor/table.ts";
import { shellWord, sqlName, sqlText, visibly } from "../../commands/quote.ts";
import { createDatabase, databaseForTest, openConnection, serverForFile } from "../helpers/database.ts";
import { sceneOf } from "../helpers/doctor.ts";
import { needs } from "../helpers/needs.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const hostile = [
  "it's; drop table orders --",
  '"; create table pwned (); --',
  "$(touch pwned) `touch pwned` $HOME ~ *",
  "'; touch pwned; '",
  "\\'; create table pwned (); --",
  "\\",
  "%s %n {a..b} #",
  "-rf",
  "!! !touch ^a^b",
  "'!'",
  ":variable :'variable' $1",
  "$$ $tag$",
  "line\nas a superuser: alter role shop superuser",
  "line\r\n\\! touch pwned\n",
  "\u001b]52;c;cHduZWQ=\u0007\u001b[2A\u009b1m",
  "\n'\\\"!\u001b",
  "\u202eturned\u2066\u200f\u2028\u{e0041}",
  "a\u00a0b\u3164\u2800\t",
  "Größe 支払い 🧾",
  "order",
  "a superuser: alter role shop superuser",
  "a superuser",
];

const server = serverForFile(); // Roles are the whole server's.
/** A line that a terminal shows as it is. */
const plain = /^[ -~ößü支払い🧾→✓✗]*$/iu;

describe("hostile names", await needs("bash", "psql"), () => {
  it("are one word each for bash, with its history too", () => {
    const script = hostile.map((name) => `printf '%s\\0' ${shellWord(name)}\n`).join("");
    for (const options of [[], ["-o", "history", "-o", "histexpand"]]) {
      const words = execFileSync("bash", [...options, "-s"], { input: script, env: { LC_ALL: "C" } });
      expect(words.toString().split("\0").slice(0, -1)).toEqual(hostile);
    }
  });

  it.each(["on", "off"])("are themselves for psql, with standard_conforming_strings %s", async (conforming) => {
    const { admin, adminUrl } = await databaseForTest();
    const input = hostile.map(
      (name) => `create schema ${sqlName(name)}; comment on schema ${sqlName(name)} is ${sqlText(name)};\n`,
    );
    const env = { ...process.env, PGOPTIONS: `-c standard_conforming_strings=${conforming}` };
    execFileSync("psql", ["-Xqv", "ON_ERROR_STOP=1", adminUrl], { input: input.join(""), env });
    const made = await admin`
      select nspname as name, obj_description(oid) as text from pg_namespace
      where oid > 16383 and nspname <> 'ledger_metrics' order by oid`;
    expect(made).toEqual(hostile.map((name) => ({ name, text: name })));
  });

  it("stay in their line", () => {
    for (const name of hostile) {
      for (const text of [visibly(name), sqlName(name), sqlText(name), shellWord(name)]) {
        expect(text).toMatch(plain);
      }
    }
    expect(visibly("a\n\u001b\u202e b")).toBe("a\\u{a}\\u{1b}\\u{202e} b");
    expect(["veza_app", "shop 1"].map(sqlName)).toEqual(["veza_app", '"shop 1"']);
    const step = { by: { ownerOfDatabase: "shop 1" }, sql: "select" };
    expect(linesOf("look", wrong("a", "b", step))).toMatch(/→ as the owner of "shop 1": select;$/);
  });

  it("are in what the looks print, which runs nothing but what it says", async () => {
    const { admin, adminUrl, samplerUrl, remove } = await createDatabase(await server);
    onTestFinished(remove);
    await admin`insert into orders ${admin(hostile.map((status) => ({ status })))}`;
    await admin.unsafe(
      hostile
        .map(sqlName)
        .map(
          (name) => `create role ${name}; create schema ${name} authorization ${name};
            create table ${name}.orders (like orders); insert into ${name}.orders select * from orders limit 1;
            alter table ${name}.orders owner to ${name};`,
        )
        .join(""),
    );
    const database = await openConnection(adminUrl);
    const scene = (settled: string[] = []) => ({ ...sceneOf(database), settled });
    const printed = (finding: Finding) => {
      const lines = linesOf("look", finding).split("\n");
      expect(lines.filter((line) => !plain.test(line))).toEqual([]);
      const steps = lines.filter((line) => line.startsWith("  → "));
      expect(steps).toHaveLength(finding.remedy.length);
      return steps.map((line) => line.slice(4));
    };

    const folder = await newFolder();
    /** The words of a printed command. */
    const wordsOf = (command = "") =>
      execFileSync("bash", { input: `printf '%s\\0' ${command}`, cwd: folder })
        .toString()
        .split("\0")
        .slice(0, -1);
    const [settle] = printed(await lookAtStatus(scene(), "orders"));
    const [option = ""] = wordsOf(settle?.slice(settle.indexOf("--settled=")));
    const settled = option.replace("--settled=", "").split(",");
    expect(settled.sort()).toEqual(hostile.toSorted());
    expect(await lookAtStatus(scene(settled), "orders")).toMatchObject({ mark: "✓" });

    expect(printed(await lookAtTable(scene(), "orders"))).toHaveLength(hostile.length + 1);

    /** Runs the printed SQL of a finding, each step as the role that is printed. */
    const apply = (finding: Finding) => {
      const input = printed(finding).flatMap((line, index) => {
        const step = finding.remedy[index];
        if (typeof step !== "object") return [];
        expect(line.endsWith(`: ${step.sql};`), line).toBe(true);
        const by = line.slice("as ".length, -`: ${step.sql};`.length);
        return [`set role ${by === "a superuser" ? "postgres" : by};\n${step.sql};\n`];
      });
      execFileSync("psql", ["-Xqv", "ON_ERROR_STOP=1", adminUrl], { input: input.join("") });
    };
    const asked = await openConnection(samplerUrl);
    const isWell = { mark: "✓", remedy: [] };
    for (const name of hostile) {
      const elsewhere = { ...asked, ledger: { ...asked.ledger, schema: name } };
      const look = () => lookAtRights({ ...sceneOf(elsewhere), version: "17" });
      const finding = await look();
      expect(finding, name).toMatchObject({ mark: "✗" });
      if (finding) apply(finding);
      expect(await look(), name).toMatchObject(isWell);
    }
    for (const name of hostile.map(sqlName)) {
      await admin.unsafe(
        `grant update on ${name}.orders to veza_ledger_sampler; grant ${name} to veza_ledger_receiver`,
      );
    }
    for (const name of hostile) {
      const elsewhere = { ...database, ledger: { ...database.ledger, schema: name } };
      const more = await lookAtMoreRights(sceneOf(elsewhere));
      expect(more, name).toMatchObject({ mark: "!" });
      if (more) apply(more);
      expect(await lookAtMoreRights(sceneOf(elsewhere)), name).toMatchObject(isWell);
    }

    expect(await admin`select from pg_class where relname = 'pwned'`).toHaveLength(0);
    expect(await readdir(folder)).toEqual([]);
  });
});
