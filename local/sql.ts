import { readFile } from "node:fs/promises";
import path from "node:path";
import { connect } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";

/**
 * Runs SQL files, named from the project's top folder, one after the other on one connection, and each statement by
 * itself, as psql does: CREATE INDEX CONCURRENTLY may not run in a transaction.
 */
export async function runSqlFiles(url: string, files: string[]): Promise<void> {
  const target = parseDatabaseUrl(url);
  const { sql, close } = await connect(async () => target, "veza-ledger-migrate", deadline("Postgres", 10_000));
  try {
    for (const file of files) {
      const text = await readFile(path.join(import.meta.dirname, "..", file), "utf8");
      for (const statement of statementsOf(text)) await sql.unsafe(statement);
    }
  } finally {
    await close();
  }
}

/** Splits SQL at the semicolons that end a line. A body between two $$ is left whole. */
function statementsOf(text: string): string[] {
  const withoutComments = text.replaceAll(/^--.*$/gm, "");
  const statements = withoutComments.match(/(\$\$[\s\S]*?\$\$|[^$])*?;\s*$/gm) ?? [];
  return statements.map((statement) => statement.trim());
}
