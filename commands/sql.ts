import { readFile } from "node:fs/promises";
import path from "node:path";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { connect } from "./connect.ts";

/** The text of a file of SQL, by its path from the project's top folder. */
export const readSqlFile = (file: string) => readFile(path.join(import.meta.dirname, "..", file), "utf8");

/** What makes or upgrades all that the functions need of a ledger's database, in one transaction. */
export const setUp = ["config/postgres/schema.sql", "config/postgres/roles.sql"];

/**
 * Runs SQL files one after the other on one connection, without psql; `files` are paths from the project's top folder.
 * `schema` and `timeZone` are psql's variables of roles.sql. A file is one message, unless it says `concurrently`.
 */
export async function runSqlFiles(url: string, files: string[], schema = "public", timeZone = "UTC"): Promise<void> {
  const target = parseDatabaseUrl(url);
  const { sql, close } = await connect(async () => target, "veza-ledger-sql", deadline("Postgres", 10_000));
  try {
    for (const file of files) {
      const text = (await readSqlFile(file))
        .replaceAll(/^ *\\.*\n/gm, "") // psql's own commands.
        .replaceAll(/\B:schema\b/g, schema)
        .replaceAll(":'timezone'", `'${timeZone}'`)
        .replaceAll(':"DBNAME"', `"${target.database}"`);
      for (const part of text.includes(" concurrently ") ? text.split(";\n") : [text]) await sql.unsafe(part);
    }
  } finally {
    await close();
  }
}
