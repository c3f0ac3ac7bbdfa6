// The prompt of people on call in a terminal.
import { symlink } from "node:fs/promises";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import { expect, it } from "vitest";
import { findOnPath } from "../../local/find-on-path.ts";
import { databaseForTest, type TestDatabase, urlAs } from "../helpers/database.ts";
import { needs } from "../helpers/needs.ts";
import { writeOnCall } from "../helpers/on-call-file.ts";
import { runProgram } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** The prompt of people on call in a terminal of 80 columns, with Node and these programs alone on the PATH. */
async function startPrompt(database: TestDatabase, ...programs: string[]) {
  const folder = await newFolder();
  const file = path.join(folder, "oncall-prod.mjs");
  await writeOnCall(file, { DATABASE_URL: urlAs("veza_ledger_oncall", database.adminUrl) });
  await symlink(process.execPath, path.join(folder, "node"));
  for (const name of programs) await symlink((await findOnPath([name])) ?? "", path.join(folder, name));
  const command = `stty cols 80; PATH='${folder}' exec node '${file}'`;
  const environment = { HOME: folder, TERM: "xterm" };
  const program = runProgram("script", ["-qefc", command, "/dev/null"], environment, "pipe");
  /** What the program prints after this was typed, up to the pattern. */
  const type = async (keys: string, pattern: RegExp) => {
    const before = program.output().length;
    program.child.stdin?.write(keys);
    await expect.poll(() => program.output().slice(before)).toMatch(pattern);
    return program.output().slice(before);
  };
  await program.printed(/Password of veza_ledger_oncall, stage prod: /);
  return { program, type };
}

const up = "\u001b[A";
const ctrlC = "\u0003";
const ctrlD = "\u0004";

it(
  "shows no password, completes, remembers commands alone, and ends at Ctrl-C what Postgres does",
  await needs("script"),
  async () => {
    const database = await databaseForTest();
    const { program, type } = await startPrompt(database);
    await type(ctrlD, /Stopped\. Nothing more was done\.\r\n.*prod> /s);
    // What was pasted with a command is no password, and no confirmation.
    await type("rows stuck_refunds\rpasted\r", /Password of veza_ledger_oncall, stage prod: /);
    await type("hunter2\r", /The password is wrong.*Password of veza_ledger_oncall, stage prod: /s);
    await type("oncall\r", /0 of stuck_refunds fire now.*prod> /s);
    await database.admin`insert into ledger_metrics.deliveries (id, digest, words) values ('id_9', '', '1 sweep')`;
    await type("takeback id_9\ryes\r", /Write yes to take back all of this: /);
    await type("no\r", /Nothing is done\..*prod> /s);
    await type("accept stuck_orders 1 day\r", /ids: /);
    await type(`id_1${ctrlC}`, /id_1\r\nStopped\. Nothing more was done\.\r\n.*prod> /s);
    await type("rows stuck_o\t", /rows stuck_orders /);
    expect(await type("\r", /repaired or accepted.*prod> /s)).toContain("0 of stuck_orders fire now");
    // The history has this line and, above it, other commands: no password and no id.
    expect(await type(`${up}\r`, /repaired or accepted.*prod> /s)).toContain("0 of stuck_orders fire now");
    await type(`${up}${up}`, /prod> accept stuck_orders 1 day/);
    await type(up, /prod> takeback id_9/);
    await type(up, /prod> rows stuck_refunds/);
    await type(`${up}\r`, /\n[^\n]*prod> /); // Above them is nothing.
    await type("sql 'select pg_sleep(600)'\r", /pg_sleep/);
    const sleeping = () => database.admin`select from pg_stat_activity
      where query like '%pg_sleep(600)%' and state = 'active' and pid <> pg_backend_pid()`;
    await expect.poll(sleeping).toHaveLength(1);
    await type(ctrlC, /Stopped\. What was not yet written stays as it was\..*prod> /s);
    // Before its own time-out of 10 s.
    await expect.poll(sleeping, { timeout: 5_000 }).toHaveLength(0);
    // A prompt that waits for a command holds no session, whose password may change meanwhile.
    await type("accepted\r", /Nobody has accepted.*prod> /s);
    const sessions = () => database.admin`select from pg_stat_activity
      where application_name = 'veza-ledger-oncall' and datname = current_database()`;
    await expect.poll(sessions).toHaveLength(0);
    program.child.stdin?.write(ctrlD);
    expect((await program.exited).exitCode).toBe(0);
    expect(program.output().match(/The password is wrong/g)).toHaveLength(1);
    expect(program.output()).not.toMatch(/hunter2|\boncall\r/);
    const redrawn = program.output().replaceAll("\u001b[1G", "\n");
    const lines = stripVTControlCharacters(redrawn).split(/\r*\n|\r/);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
  },
);

it(
  "opens psql where it is installed, read-only, which has Ctrl-C for itself",
  await needs("script", "psql"),
  async () => {
    const { program, type } = await startPrompt(await databaseForTest(), "psql");
    await type("oncall\r", /prod> /);
    await type("sql\r", /prod ledger_\w+=> /);
    await type("select current_user, 40 + 2;\r", /veza_ledger_oncall *\| +42\s[\s\S]*=> /);
    await type("update public.orders set status = '';\r", /in a read-only transaction[\s\S]*=> /);
    await type("select pg_sleep(9);\r", /pg_sleep\(9\);\r\n/);
    await type(ctrlC, /canceling statement due to user request[\s\S]*=> /);
    await type("\\q\r", /prod> /);
    program.child.stdin?.write(ctrlD);
    expect((await program.exited).exitCode).toBe(0);
  },
);
