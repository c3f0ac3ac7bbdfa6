import { readFile } from "node:fs/promises";
import path from "node:path";
import postgres from "postgres";

/** Runs SQL files, named from the project's top folder, one after the other, on one connection. */
export async function runSqlFiles(url: string, files: string[]): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    for (const file of files) {
      await sql.unsafe(await readFile(path.join(import.meta.dirname, "..", file), "utf8"));
    }
  } finally {
    await sql.end({ timeout: 5 });
  }
}
