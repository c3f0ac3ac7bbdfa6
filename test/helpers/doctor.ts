import { inject } from "vitest";
import { run } from "../../commands/doctor.ts";
import { briefly, type Scene } from "../../commands/look.ts";
import { checks } from "../../lib/checks.ts";
import type { Database } from "../../lib/database.ts";
import { deadline } from "../../lib/deadline.ts";
import { askOn } from "../../lib/question.ts";
import { inItsOwnProcess, inProcess, type Ran } from "./commands.ts";
import { insertRows } from "./models.ts";
import { newSecret } from "./receiver.ts";

type Start = (args: string[], variables: Record<string, string | undefined>) => Promise<Ran>;
const here: Start = (args, variables) => inProcess(run, args, variables);
export const elsewhere: Start = (args, variables) => inItsOwnProcess("doctor", args, variables);

/** Runs the doctor; its lines without the remedies, which start with an arrow, and these by themselves. */
export async function doctor(role: string[], settings: Record<string, string | undefined>, start = here) {
  const { exitCode, output } = await start(role, {
    DATABASE_URL: undefined,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    SECRET_ID: undefined,
    STAGE: "doctor",
    ...settings,
  });
  const all = output.split("\n").map((line) => line.replaceAll(/ {2,}/g, " "));
  const isRemedy = (line: string) => line.startsWith(" → ");
  const lines = all.filter((line) => !isRemedy(line));
  const ill = lines.filter((line) => /^[!✗]/.test(line));
  return { exitCode, lines, ill, remedies: all.filter(isRemedy).map((line) => line.slice(3)) };
}

/** What a single look needs of the scene. */
export function sceneOf(database: Database): Scene {
  const ask = askOn(database, deadline("test", 20_000), briefly);
  return { database, ask, settled: [] as string[], isClockRight: true } as Scene;
}

/** SQL: rows of every kind. Each check counts one, or two where a row that was just written counts. */
export const rowsOfEveryKind = `
  insert into orders (status, hyperswitch_payment_id) values ('paid', 'pay');
  insert into refunds (status, hyperswitch_refund_id) values ('succeeded', 'ref');
  insert into seller_transfers (status) values ('completed');
  ${checks.map((check) => insertRows(check, 1) + insertRows(check, 1, { age: "0 seconds" })).join("")}`;
