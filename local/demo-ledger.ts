import { connect } from "../commands/connect.ts";
import { tables } from "../commands/declared-rights.ts";
import { runSqlFiles, setUp } from "../commands/sql.ts";
import { deadlineFor } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings/settings.ts";

/** Builds the demo ledger in an empty database. */
export async function createDemoLedger(adminUrl: string): Promise<void> {
  await runSqlFiles(adminUrl, ["local/ledger.sql", ...setUp]);
  await runSqlFiles(adminUrl, ["config/postgres/indexes.sql", "local/demo.sql"]);
}

/** Gives each row of the demo ledger an amount, and shows the amounts to the sampler. */
export async function showAmounts(adminUrl: string): Promise<void> {
  const columns = tables.map(
    (table) => `alter table ${table} add amount_cents integer not null default (500 + random() * 20000)::integer,
        add currency text not null default 'EUR';
      grant select (amount_cents, currency) on ${table} to veza_ledger_oncall;`,
  );
  const target = parseDatabaseUrl(adminUrl);
  const { sql, close } = await connect(async () => target, "veza-demo-amounts", deadlineFor("Postgres", 10_000));
  try {
    await sql.unsafe(columns.join(""));
  } finally {
    await close();
  }
  await runSqlFiles(adminUrl, ["config/postgres/amounts.sql"]);
}
