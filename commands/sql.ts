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
export const setUp = ["config/postgres/install.sql"];

/**
 * Runs SQL files one after the other on one connection, without psql; `files` are paths from the project's top folder,
 * `schema` and `timeZone` psql's variables. Throws the error of the first statement that fails.
 *
 * A file is one message, and so one transaction. Postgres takes no `create index concurrently` in a transaction, so a
 * file with one is sent statement by statement.
 */
export async function runSqlFiles(url: string, files: string[], schema = "public", timeZone = "UTC"): Promise<void> {
  const target = parseDatabaseUrl(url);
  const { sql, close } = await connect(async () => target, "veza-ledger-sql", deadlineFor("Postgres", 10_000));
  try {
    for (const file of files) {
      const text = await textOf(file, target.database, schema, timeZone);
      for (const part of text.includes(" concurrently ") ? text.split(";\n") : [text]) await sql.unsafe(part);
    }
  } finally {
    await close();
  }
}

/** The text of a file as `runSqlFiles` sends it: as psql fills in its variables, without `-v iam=yes`. */
export async function textOf(file: string, database: string, schema = "public", timeZone = "UTC"): Promise<string> {
  const parts = (await readSqlFile(file)).split(/^\\ir (\S+)\n/gm); // Texts and names of files in turn.
  const read = (name: string) => readSqlFile(path.join(path.dirname(file), name));
  const texts = await Promise.all(parts.map((part, place) => (place % 2 ? read(part) : part)));
  return texts
    .join("")
    .replaceAll(/^select replace\(replace\(\$rows\$([\s\S]*?)\$rows\$.*\n\\gexec\n/gm, (_, rows: string) =>
      rows.replaceAll("ledger.", () => `${sqlName(schema)}.`).replaceAll("TIMEZONE", () => sqlText(timeZone)),
    )
    .replaceAll(/^\\if .*\n[\s\S]*?^\\endif\n/gm, "")
    .replaceAll(/^\\.*\n/gm, "")
    .replaceAll(':"schema"', () => sqlName(schema))
    .replaceAll(":'schema'", () => sqlText(schema))
    .replaceAll(":'timezone'", () => sqlText(timeZone))
    .replaceAll(':"DBNAME"', () => sqlName(database));
}
