// Odd ledgers, behind install.sql: each count is right, or unknown with a reason.
// Types, times, policies and rights of any ledger are in test/counts/truth.test.ts, and what install.sql refuses in
// administrator.test.ts.
import { expect, it, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { databasePerTest } from "../helpers/database.ts";
import { forEachCheck, insertRows, onTable } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

const { database, run } = databasePerTest();

/** A schema of views of all tables. */
const views = (orders = "table public.orders") =>
  `create schema odd; ${tables
    .map((table) => `create view odd.${table} as ${table === "orders" ? orders : `table public.${table}`}`)
    .join("; ")}`;

it.each([
  [
    "in a schema in capitals, with a dash",
    "Veza-1",
    `create schema "Veza-1"; ${tables.map((table) => `alter table ${table} set schema "Veza-1"`).join("; ")}`,
  ],
  [
    "of views, one with a column of another name, of a partitioned table",
    "odd",
    `alter table orders rename to rest; alter table rest alter id drop identity; alter table rest rename status to state;
     create table orders (like rest) partition by range (created_at); alter table orders attach partition rest default;
     ${views("select *, state as status from public.orders")}`,
  ],
  [
    "with forced policies, and a view of the owner's",
    "odd",
    `alter table orders enable row level security, force row level security;
     create policy tenants on orders using (hyperswitch_payment_id = current_setting('app.tenant', true));
     ${views()}; alter table orders owner to odd_owner; alter view odd.orders owner to odd_owner; grant usage on schema odd to odd_owner`,
    "affected by row-level security policy",
  ],
  [
    "of views whose owner may not read the table",
    "odd",
    `${views()}; alter view odd.orders owner to odd_owner`,
    "permission denied for table orders",
  ],
])("a ledger %s", async (_, schema, made, unknown?: string) => {
  await run("create role odd_owner");
  onTestFinished(() => run("drop owned by odd_owner; drop role odd_owner"));
  await run(`${insertRows({ id: "stuck_orders" }, 1)} ${made}`);
  await runSqlFiles(database.adminUrl, setUp, schema);
  const outcomes = await sampleAs(database.samplerUrl, { schema });
  const counts = countsIn(outcomes, (error) => (error as Error).message);
  const ofOrders = unknown ? onTable("orders", expect.stringContaining(unknown)) : { stuck_orders: 1 };
  expect(counts).toEqual({ ...forEachCheck(() => 0), ...ofOrders });
});
