import postgres from "postgres";
import { runSqlFiles, setUp } from "../../commands/sql.ts";

/** Makes the database `ledger` on this server, which createDatabase() copies, and gives the roles their passwords. */
export async function createTemplate(serverUrl: string): Promise<void> {
  const sql = postgres(serverUrl, { max: 1 });
  await sql`create database ledger`;
  const url = serverUrl.replace(/\w+$/, "ledger");
  await runSqlFiles(url, ["local/ledger.sql"]);
  await runSqlFiles(url, setUp);
  await withoutFirstDay(url);
  await sql`alter role veza_ledger_sampler password 'sampler'`;
  await sql`alter role veza_ledger_sampler connection limit 50`;
  await sql`alter role veza_ledger_receiver password 'receiver'`;
  await sql`alter role veza_ledger_receiver connection limit 50`;
  await sql`alter role veza_ledger password 'both'`;
  await sql`alter role veza_ledger_oncall password 'oncall'`;
  await sql.end();
}

/** Takes the first day's acceptances out of this database, so that old rows of a test are overdue. */
async function withoutFirstDay(url: string): Promise<void> {
  const sql = postgres(url, { max: 1 });
  await sql`update ledger_metrics.first_day set until = now()`;
  await sql.end();
}

/**
 * The option of `create database` by which Postgres copies a template's files, as before version 15. Since then, it would
 * write all of them into its WAL, which takes twice the CPU time.
 */
export async function copyingFiles(server: postgres.Sql): Promise<string> {
  const [row] = await server`select current_setting('server_version_num')::int >= 150000 as has_option`;
  return row?.has_option ? "strategy file_copy" : "";
}
