import { type Database, keepConnections, withDeadline } from "../lib/database.ts";
import type { FindDatabase } from "../lib/login.ts";

/** Connects and logs in as the functions do. Rejects when `deadline` aborts or Postgres refuses. */
export function connect(findDatabase: FindDatabase, name: string, deadline: AbortSignal): Promise<Database> {
  return keepConnections(findDatabase, name).use(async (database) => {
    await withDeadline(database, deadline, (sql) => sql.unsafe("select 1"));
    return database;
  });
}
