// A connection for a command, as the functions have one.
import { keepConnections } from "../lib/postgres/connections.ts";
import { type Database, withDeadline } from "../lib/postgres/database.ts";
import { ownAnswer } from "../lib/postgres/own-answer.ts";
import type { FindDatabase } from "../lib/settings/settings.ts";

/**
 * Connects and logs in as the functions do, by their password or IAM token. Rejects when `deadline` aborts, Postgres
 * refuses, or a replica answers. The connection stays open after `use`: its pool is of this call alone, and lends it to
 * nobody else.
 */
export function connect(findDatabase: FindDatabase, name: string, deadline: AbortSignal): Promise<Database> {
  return keepConnections(name)(findDatabase).use(async (database) => {
    await withDeadline(
      database,
      deadline,
      (sql) => ownAnswer(sql, "", "select"),
      () => true,
    );
    return database;
  });
}
