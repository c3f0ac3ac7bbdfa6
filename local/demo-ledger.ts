import { runSqlFiles } from "../commands/sql.ts";

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
