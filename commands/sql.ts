import { readFile } from "node:fs/promises";
import path from "node:path";
import { connect } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";

/**
 * Runs SQL files, named from the project's top folder, one after the other on one connection: each as a whole, or, where
 * it has indexes built CONCURRENTLY, which may not be in a transaction, statement by statement as psql does.
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
