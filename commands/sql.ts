import { readFile } from "node:fs/promises";
import path from "node:path";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { connect } from "./connect.ts";

/** The text of a file of SQL, by its path from the project's top folder. */
export const readSqlFile = (file: string) => readFile(path.join(import.meta.dirname, "..", file), "utf8");

/**
 * Runs SQL files one after the other on one connection; `files` are paths from the project's top folder. A file is one
 * transaction, unless it says `concurrently`.
 */
export async function runSqlFiles(url: string, files: string[]): Promise<void> {
  const target = parseDatabaseUrl(url);
  const { sql, close } = await connect(async () => target, "veza-ledger-migrate", deadline("Postgres", 10_000));
  try {
    for (const file of files) {
      const text = await readSqlFile(file);
      for (const part of text.includes(" concurrently ") ? text.split(";\n") : [text]) await sql.unsafe(part);
    }
  } finally {
    await close();
  }
}
