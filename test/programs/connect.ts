import { connect } from "../../commands/connect.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { parseDatabaseUrl } from "../../lib/settings/settings.ts";

// Connects to DATABASE_URL as the functions do, and prints how that went.
const database = parseDatabaseUrl(process.env.DATABASE_URL ?? "");
try {
  const { sql, close } = await connect(async () => database, "test", deadlineFor("Postgres", 60_000));
  const [row] = await sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`;
  console.log(`connected, encrypted: ${row?.ssl}`);
  await close();
} catch (error) {
  console.log(`refused: ${(error as { code?: string }).code}`);
}
