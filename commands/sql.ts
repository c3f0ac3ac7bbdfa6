// Runs the project's files of SQL without psql.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { deadlineFor } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings/settings.ts";
import { connect } from "./connect.ts";
import { sqlName, sqlText } from "./quote.ts";

/** The text of a file of SQL, by its path from the project's top folder. Throws where there is none. */
export const readSqlFile = (file: string): Promise<string> =>
  readFile(path.join(import.meta.dirname, "..", file), "utf8");

/** What makes or upgrades all that the functions need of a ledger's database, in one transaction. */
export const setUp = ["config/postgres/schema.sql", "config/postgres/roles.sql"];

/**
 * Runs SQL files one after the other on one connection, without psql; `files` are paths from the project's top folder.
 * `schemas` and `timeZone` are psql's variables of roles.sql: `schemas` are names as in SQL, between commas. Throws the
 * error of the first statement that fails.
 *
 * A file is one message, and so one transaction. Postgres takes no `create index concurrently` in a transaction, so a
 * file with one is sent statement by statement.
 */
export async function runSqlFiles(url: string, files: string[], schemas = "public", timeZone = "UTC"): Promise<void> {
  const target = parseDatabaseUrl(url);
  const { sql, close } = await connect(async () => target, "veza-ledger-sql", deadlineFor("Postgres", 10_000));
  try {
    for (const file of files) {
      const text = await textOf(file, target.database, schemas, timeZone);
      for (const part of text.includes(" concurrently ") ? text.split(";\n") : [text]) await sql.unsafe(part);
    }
  } finally {
    await close();
  }
}

/** The text of a file as `runSqlFiles` sends it, with the values of psql's variables. */
export async function textOf(file: string, database: string, schemas = "public", timeZone = "UTC"): Promise<string> {
  return (await readSqlFile(file))
    .replaceAll(/^select [^;]*\n\\gset\n/gm, "") // What it sets is given here as it is used.
    .replaceAll(/^ *\\.*\n/gm, "") // psql's own commands.
    .replaceAll(/\B:schema\b/g, () => schemas)
    .replaceAll(":'timezone'", () => sqlText(timeZone))
    .replaceAll(':"DBNAME"', () => sqlName(database));
}
