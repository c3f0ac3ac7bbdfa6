// The prompt of people on call in a terminal, with Node alone on the PATH.
import { symlink } from "node:fs/promises";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import { expect, it } from "vitest";
import { databaseForTest, urlAs } from "../helpers/database.ts";
import { needs } from "../helpers/needs.ts";
import { writeOnCall } from "../helpers/on-call-file.ts";
import { startProgram } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

it(
  "shows no password, completes, remembers commands alone, and ends at Ctrl-C what Postgres does",
  await needs("script"),
  async () => {
    const database = await databaseForTest();
    const folder = await newFolder();
    const file = path.join(folder, "oncall-prod.mjs");
    await writeOnCall(file, { DATABASE_URL: urlAs("veza_ledger_oncall", database.adminUrl) });
    await symlink(process.execPath, path.join(folder, "node"));
    const command = `stty cols 80; PATH='${folder}' exec node '${file}'`;
    const program = startProgram("script", ["-qefc", command, "/dev/null"], { HOME: folder, TERM: "xterm" }, "pipe");
    /** What the program prints after this was typed, up to the pattern. */
    const type = async (keys: string, pattern: RegExp) => {
      const before = program.output().length;
      program.child.stdin?.write(keys);
      await expect.poll(() => program.output().slice(before)).toMatch(pattern);
      return program.output().slice(before);
    };
    await program.printed(/Password of veza_ledger_oncall, stage prod: /);
    await type("hunter2\r", /The password is wrong.*Password of veza_ledger_oncall, stage prod: /s);
    await type("oncall\r", /prod> /);
    await type("rows stuck_o\t", /rows stuck_orders /);
    expect(await type("\r", /repaired or accepted.*prod> /s)).toContain("0 of stuck_orders fire now");
    // The history has this line, and above it nothing: no password.
    const up = "\u001b[A";
    expect(await type(`${up}\r`, /repaired or accepted.*prod> /s)).toContain("0 of stuck_orders fire now");
    const above = await type(`${up}${up}\r`, /prod> [^>]*prod> [^>]*\n[^>]*prod> /);
    expect(above.match(/prod> \w*/g)).toEqual(["prod> rows", "prod> ", "prod> "]);
    await type("sql 'select pg_sleep(600)'\r", /pg_sleep/);
    const sleeping = () => database.admin`select from pg_stat_activity
      where query like '%pg_sleep(600)%' and state = 'active' and pid <> pg_backend_pid()`;
    await expect.poll(sleeping).toHaveLength(1);
    await type("\u0003", /Stopped\. What was not yet written stays as it was\..*prod> /s);
    // Before its own time-out of 10 s.
    await expect.poll(sleeping, { timeout: 5_000 }).toHaveLength(0);
    program.child.stdin?.write("\u0004");
    expect((await program.exited).exitCode).toBe(0);
    expect(program.output()).not.toMatch(/hunter2|\boncall\r/);
    const lines = stripVTControlCharacters(program.output()).split(/\r*\n|\r/);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  },
);
