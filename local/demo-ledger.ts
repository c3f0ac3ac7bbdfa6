import { connect } from "../commands/connect.ts";
import { runSqlFiles } from "../commands/sql.ts";
import { checks, rowsOf } from "../lib/checks.ts";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";

/** The name of the demo's PostgreSQL, by which `npm run demo` knows that it may break it. */
export const demoCluster = "veza-ledger-demo";

/** How long the demo's PostgreSQL is away when it has died: longer than from one tick to the next. */
export const restartSeconds = (everySeconds: number): number => Math.ceil(everySeconds) + 5;

/** Builds the demo ledger in an empty database. */
export async function createDemoLedger(adminUrl: string): Promise<void> {
  await runSqlFiles(adminUrl, [
    "local/ledger.sql",
    "local/one-login.sql",
    "config/postgres/schema.sql",
    "config/postgres/roles.sql",
    "config/postgres/indexes.sql",
    "local/demo.sql",
  ]);
}

/** Gives each row of the demo ledger an amount, and shows the amounts to the sampler by a view, as an owner would. */
export async function showAmounts(adminUrl: string): Promise<void> {
  const columns = [...new Set(checks.map(({ table }) => table))].map(
    (table) => `alter table ${table} add amount_cents integer not null default (500 + random() * 20000)::integer;
      grant select (amount_cents) on ${table} to veza_ledger_oncall;`,
  );
  const amounts = checks.map(
    (check) => `select '${check.id}'::text as "check", 'EUR'::text as currency, amount_cents / 100.0 as amount
      ${rowsOf(check)}`,
  );
  const target = parseDatabaseUrl(adminUrl);
  const { sql, close } = await connect(async () => target, "veza-demo-amounts", deadline("Postgres", 10_000));
  try {
    await sql.unsafe(`${columns.join("")}
      create or replace view ledger_metrics.amounts_at_risk as ${amounts.join(" union all ")}`);
  } finally {
    await close();
  }
}
