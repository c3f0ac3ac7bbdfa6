// Each remedy of docs/what-counts.md: the sampler, the login that AWS' rotation makes, and people on call see the same
// rows, before and after a rotation.

import { readFile } from "node:fs/promises";
import type postgres from "postgres";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { createDatabase, onCall, serverForFile, type TestDatabase } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";
import { makeViews, viewSchema } from "../helpers/views.ts";

const serverUrl = await serverForFile();
let schema: string;
let database: TestDatabase;
let oncall: postgres.Sql;
beforeEach(async () => {
  schema = "public";
  database = await createDatabase(serverUrl);
  onTestFinished(() => database.remove());
  oncall = onCall(database);
});

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));
const migrate = () => runSqlFiles(database.adminUrl, setUp, schema);
const orders = checks.filter(({ table }) => table === "orders");

/** How many orders of each check this login sees. */
async function gauge(login: string): Promise<Record<string, unknown>> {
  const outcomes = await sampleAs(database.samplerUrl.replace("veza_ledger_sampler:", `${login}:`), { schema });
  const ofOrders = outcomes.filter(({ check }) => check.table === "orders");
  return countsIn(ofOrders, (error) => error);
}

/** How many orders of each check people on call list. */
async function listed(): Promise<Record<string, unknown>> {
  const rows = orders.map(async ({ id }) => [id, (await oncall.unsafe(`select from ledger_metrics.${id}()`)).length]);
  return Object.fromEntries(await Promise.all(rows));
}

/** The page's views, with another way to have a column of orders if its table lists that. */
async function makeView(column = "created_at", from = column) {
  const instead = from === column ? column : `${from} as ${column}`;
  expect(await readFile("docs/what-counts.md", "utf8")).toContain(`\`${instead}\``);
  await makeViews(database, { [column]: instead });
  schema = viewSchema;
}
const change = (type: string, using: string) =>
  `alter table orders alter created_at drop default, alter created_at type ${type} using ${using}`;
const rename = "update orders set status = 'awaiting_payment' where status = 'pending'";
const renamed = "case when status::text = 'awaiting_payment' then 'pending' else status::text end";
const noTime = "alter table orders alter created_at drop not null; update orders set created_at = null";
const asNumber = "alter table orders alter hyperswitch_payment_id type bigint using 1";
const hide = "alter table orders enable row level security; alter table orders force row level security";

it.each<[string, breaks: string, mends: [column?: string, from?: string]]>([
  [
    "a zone",
    change("timestamp", "created_at at time zone 'Asia/Tokyo'"),
    ["created_at", "created_at at time zone 'Asia/Tokyo'"],
  ],
  ["Unix time", change("bigint", "extract(epoch from created_at)"), ["created_at", "to_timestamp(created_at::float8)"]],
  ["a renamed status", rename, ["status", renamed]],
  ["an id that is a number", asNumber, ["hyperswitch_payment_id", "hyperswitch_payment_id::text"]],
  ["no time", noTime, ["created_at", "coalesce(created_at, '-infinity')"]],
  ["row-level security", hide, []],
])("%s: everybody counts the same after the remedy", async (_, breaks, mends) => {
  await Promise.all(orders.map((check) => run(insertRows(check, 2))));
  const truth = Object.fromEntries(orders.map(({ id }) => [id, 2]));
  const seenBy = async (...logins: string[]) => [await listed(), ...(await Promise.all(logins.map(gauge)))];
  expect(await seenBy("veza_ledger_sampler")).toEqual([truth, truth]);
  await run(breaks);
  expect(await gauge("veza_ledger_sampler")).not.toEqual(truth);
  await makeView(...mends);
  await migrate();
  await run(
    "drop role if exists veza_ledger_sampler_clone; create role veza_ledger_sampler_clone login password 'sampler' in role veza_ledger_sampler",
  );
  expect(await seenBy("veza_ledger_sampler", "veza_ledger_sampler_clone")).toEqual([truth, truth, truth]);
});
