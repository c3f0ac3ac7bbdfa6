import { inject } from "vitest";
import { run } from "../../commands/doctor.ts";
import { briefly, type Scene } from "../../commands/look.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";
import type { Database } from "../../lib/database.ts";
import { deadline } from "../../lib/deadline.ts";
import { askOn } from "../../lib/question.ts";
import type { TestDatabase } from "./database.ts";
import { setEnvironment } from "./environment.ts";
import { insertRows } from "./models.ts";
import { runScript } from "./processes.ts";
import { newSecret } from "./receiver.ts";

/** Runs a command in this process, with these variables. Resolves to its exit code, and to what it printed. */
export async function inProcess(
  command: typeof run,
  args: string[],
  variables: Record<string, string | undefined>,
): Promise<{ exitCode: number; output: string }> {
  const before = Object.fromEntries(Object.keys(variables).map((name) => [name, process.env[name]]));
  const lines: string[] = [];
  const print = (line: string) => void lines.push(line);
  setEnvironment(variables);
  try {
    return { exitCode: await command(args, { log: print, error: print }), output: lines.join("\n") };
  } finally {
    setEnvironment(before);
  }
}

/** The same in a process with nothing else in it, which a lost connection could end early. */
export async function inItsOwnProcess(_: typeof run, args: string[], variables: Record<string, string | undefined>) {
  const program = runScript("commands/doctor.ts", args, variables);
  await program.exited;
  return { exitCode: program.child.exitCode ?? -1, output: program.output().trim() };
}

/** Runs the doctor; its lines without the remedies, which start with an arrow, and these by themselves. */
export async function doctor(role: string[], settings: Record<string, string | undefined>, start = inProcess) {
  const { exitCode, output } = await start(run, role, {
    DATABASE_URL: undefined,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    SECRET_ID: undefined,
    STAGE: "doctor",
    ...settings,
  });
  const lines = output.split("\n");
  const isRemedy = (line: string) => line.trim().startsWith("→");
  return {
    exitCode,
    lines: lines.filter((line) => !isRemedy(line)).map((line) => line.replaceAll(/ {2,}/g, " ")),
    ill: lines.filter((line) => /^[!✗]/.test(line)).map((line) => line.replaceAll(/ {2,}/g, " ")),
    remedies: lines.filter(isRemedy).map((line) => line.trim().slice(2)),
  };
}

/** What a single look needs of the scene. */
export function sceneOf(database: Database, isClockRight = true): Scene {
  const ask = askOn(database, deadline("test", 20_000), briefly);
  return { database, ask, settled: [] as string[], isClockRight } as Scene;
}

/** Rows of every kind, just written, and the indexes. */
export async function fill({ admin, adminUrl }: TestDatabase): Promise<void> {
  await admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id) values ('paid', 'pay');
    insert into refunds (status, hyperswitch_refund_id) values ('succeeded', 'ref');
    insert into seller_transfers (status) values ('completed')`);
  for (const check of checks) await admin.unsafe(insertRows(check, 1, { age: "0 seconds" }));
  await runSqlFiles(adminUrl, ["config/postgres/indexes.sql"]);
}
