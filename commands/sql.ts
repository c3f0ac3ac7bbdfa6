import { readFile } from "node:fs/promises";
import path from "node:path";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { connect } from "./connect.ts";

/**
 * Runs SQL files one after the other on one connection; `files` are paths from the project's top folder. A file is one
 * transaction, unless it builds indexes CONCURRENTLY: then each statement runs alone, as in psql.
 */
export async function runSqlFiles(url: string, files: string[]): Promise<void> {
  const target = parseDatabaseUrl(url);
  const { sql, close } = await connect(async () => target, "veza-ledger-migrate", deadline("Postgres", 10_000));
  try {
    for (const file of files) {
      const text = await readFile(path.join(import.meta.dirname, "..", file), "utf8");
      const withoutComments = text.replaceAll(/^--.*$/gm, "");
      const parts = /\bconcurrently\b/i.test(withoutComments) ? withoutComments.split(/;\s*$/m) : [text];
      for (const part of parts) await sql.unsafe(part);
    }
  } finally {
    await close();
  }
}
