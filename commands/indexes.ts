import { writeFile } from "node:fs/promises";
import path from "node:path";
import { checks, stateOf } from "../lib/checks.ts";

// npm run indexes: writes the indexes of the checks, and their rollback, into config/postgres.

const heading = `\
-- Written by \`npm run indexes\` from lib/checks.ts: one partial index for each check, over the rows in its state. A
-- check then reads these rows and no others, however large the table is. Optional, safe to run again. As the owner:
--   psql "$DATABASE_URL" -f config/postgres/indexes.sql
-- CONCURRENTLY blocks no writes, and fails in a transaction. After an interruption, drop the invalid index and run it
-- again.
`;
const rollbackHeading = `\
-- Written by \`npm run indexes\`. Takes indexes.sql back, without blocking writes. The checks work, and read more.
`;

/** The text of each generated file, by its name in config/postgres. */
export function indexFiles(): Record<string, string> {
  const create = checks.map(
    (check) => `
create index concurrently if not exists veza_ledger_${check.id} on ${check.table} (${check.time})
  where ${stateOf(check)};`,
  );
  const drop = checks.map(({ id }) => `\ndrop index concurrently if exists veza_ledger_${id};`);
  return {
    "indexes.sql": `${heading}${create.join("")}\n`,
    "indexes.rollback.sql": `${rollbackHeading}${drop.join("")}\n`,
  };
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(indexFiles())) {
    await writeFile(path.join(import.meta.dirname, "../config/postgres", name), text);
  }
}
