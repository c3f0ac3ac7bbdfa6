import postgres from "postgres";
import { runSqlFiles } from "../../commands/sql.ts";

/** Makes the database `ledger` on this server, which createDatabase() copies, and gives the roles their passwords. */
export async function createTemplate(serverUrl: string): Promise<void> {
  const sql = postgres(serverUrl, { max: 1 });
  await sql`create database ledger`;
  for (const file of [
    "local/ledger.sql",
    "local/one-login.sql",
    "config/postgres/schema.sql",
    "config/postgres/roles.sql",
  ]) {
    // Postgres' own error has the file's whole text.
    await runSqlFiles(serverUrl.replace(/\w+$/, "ledger"), [file]).catch(({ message, where = "" }) => {
      throw new Error(`${file}: ${message}\n${where.slice(0, 500)}`);
    });
  }
  await sql`alter role veza_ledger_sampler password 'sampler'`;
  await sql`alter role veza_ledger_sampler connection limit 50`;
  await sql`alter role veza_ledger_receiver password 'receiver'`;
  await sql`alter role veza_ledger_receiver connection limit 50`;
  await sql`alter role veza_ledger password 'both'`;
  await sql.end();
}
