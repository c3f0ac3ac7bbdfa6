// The database of release 1.0.0: filled, dumped as data, and restored into a new installation, it counts as before. A
// release that changes a table begins with its tables and rows here, and runs its numbered file on them.
import { expect, it } from "vitest";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { parseEvents, tally } from "../../lib/totals/events.ts";
import { lockAndReadTotals } from "../../lib/totals/publish.ts";
import { databaseForTest, openConnection, type TestDatabase } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { evidenceOf } from "../helpers/sample.ts";

const tables = {
  deliveries: "id text, digest text, words text, received_at timestamptz, attempts integer",
  totals: "name text, labels jsonb, value numeric, ahead numeric",
  stage: "stage text, single boolean",
  first_day: "began_at timestamptz, until timestamptz, single boolean",
  accepted: "check text, id text, until timestamptz, why text, accepted_at timestamptz, accepted_by text",
};

/** The columns of each table that has any, with their types. */
async function columnsIn({ admin }: TestDatabase): Promise<Record<string, string>> {
  const rows = await admin`
    select relname, string_agg(attname || ' ' || replace(format_type(atttypid, null), 'timestamp with time zone',
      'timestamptz'), ', ' order by attnum) as columns
    from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    where relnamespace = 'ledger_metrics'::regnamespace and relkind = 'r' group by relname`;
  return Object.fromEntries(rows.map(({ relname, columns }) => [relname, columns]));
}

const events = JSON.stringify([
  { type: "reconciler.sweep", timestamp: "2026-01-31T12:00:00Z", data: { duration_seconds: 1.84 } },
  { type: "reconciler.orphan_refund", timestamp: "2026-01-31T12:00:00Z" },
]);
const delivery = { id: "evt-1", increments: tally(parseEvents(events)), stage: "prod" };

/** What a receiver and a sampler make of a database. */
async function seenIn({ receiverUrl, samplerUrl }: TestDatabase) {
  const { sql } = await openConnection(receiverUrl);
  const status = await recordDelivery(sql, delivery);
  const { totals } = await lockAndReadTotals(sql);
  await sql.unsafe("rollback");
  const series = await evidenceOf(samplerUrl, /^(accepted|overdue|accepted_until).*stuck_orders/);
  return { status, totals, series };
}

it("counts on where a dump of its data is restored, and has the tables of the release", async () => {
  const [from, to] = [await databaseForTest(), await databaseForTest()];
  expect(await columnsIn(from)).toEqual(tables);
  const orders = `${insertRows({ id: "stuck_orders" }, 3, { age: "40 days" })} ${insertRows({ id: "stuck_orders" }, 2)}`;
  for (const { admin } of [from, to]) await admin.unsafe(orders);
  await from.admin.unsafe(`
    update ledger_metrics.first_day set began_at = now() - interval '3 days', until = now() + interval '11 days';
    insert into ledger_metrics.accepted ("check", id, until, why) values
      ('stuck_orders', '5', now() + interval '80 days', 'known'), ('stuck_orders', '4', now(), 'taken back')`);
  expect((await seenIn(from)).status).toBe("recorded");
  const before = await seenIn(from);
  expect(before).toMatchObject({ status: "duplicate", series: { "accepted_rows{check=stuck_orders}": 4 } });

  for (const table of Object.keys(tables)) {
    const [dump] = await from.admin.unsafe(`select coalesce(jsonb_agg(row), '[]')::text as rows
      from ledger_metrics.${table} as row`);
    await to.admin.unsafe(`delete from ledger_metrics.${table}`);
    await to.admin.unsafe(
      `insert into ledger_metrics.${table}
        select (jsonb_populate_record(null::ledger_metrics.${table}, row)).* from jsonb_array_elements($1::text::jsonb) as row`,
      [dump?.rows],
    );
  }
  expect(await seenIn(to)).toEqual(before);
});
