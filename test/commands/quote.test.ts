// Names that others chose, pasted as they are printed: nothing in them runs, and SQL names the very object.
import { execFileSync } from "node:child_process";
import { readdir } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { Finding } from "../../commands/doctor/finding.ts";
import { linesOf } from "../../commands/doctor/print.ts";
import { lookAtStatus } from "../../commands/doctor/status.ts";
import { lookAtTable } from "../../commands/doctor/table.ts";
import { shellWord, sqlName, sqlText, visibly } from "../../commands/quote.ts";
import { databaseForTest, openConnection } from "../helpers/database.ts";
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
  });

  it("are in what the looks print, which runs nothing but what it says", async () => {
    const { admin, adminUrl } = await databaseForTest();
    await admin`insert into orders ${admin(hostile.map((status) => ({ status })))}`;
    for (const name of hostile) {
      await admin.unsafe(`create schema ${sqlName(name)}; create table ${sqlName(name)}.orders ()`);
    }
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

    const steps = printed(await lookAtTable({ ...scene(), login: "stranger" }, "orders"));
    const places = steps.map((step) => wordsOf(step.slice(step.indexOf("--schema")))[1]);
    expect(places.sort()).toEqual(hostile.toSorted());

    expect(await admin`select from pg_class where relname = 'pwned'`).toHaveLength(0);
    expect(await readdir(folder)).toEqual([]);
  });
});
