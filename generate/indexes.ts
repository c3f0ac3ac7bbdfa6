import { indexed } from "../config/words-of-checks.ts";
import { checks } from "../lib/counts/checks.ts";

// The indexes of the checks, and their rollback. An index that is there stays as it is, also if the check's condition
// has changed since: then people have to run the rollback first.

/** `:"schema"` is psql's. Without a transaction no search_path is safe, so operators are written in full, too. */
const inFull = (sql: string) => sql.replaceAll(/ (=|<>) /g, " operator(pg_catalog.$1) ");
const inLines = (statement: string) => statement.replaceAll(/ (?=where |and )/g, "\n  ");
const created = checks.map((check) => {
  const index = `create index concurrently if not exists veza_ledger_${check.id}`;
  return `\n${index} on :"schema".${check.table} ${inLines(inFull(indexed(check)))};\n`;
});
const dropped = checks.map(({ id }) => `drop index concurrently if exists :"schema".veza_ledger_${id};\n`);

/** config/postgres/indexes.sql */
export const indexes = `\
-- Written by \`npm run generate\` from lib/counts/checks.ts: one partial index for each check, over the rows in its
-- state. A check then reads these rows and no others, however large the table is. Optional, safe to run again. As the
-- owner of the tables:
--   psql -v schema=public -f config/postgres/indexes.sql postgres://...
-- CONCURRENTLY blocks no writes, and fails in a transaction. After an interruption, drop the invalid index and run this
-- again. A partitioned table needs the statement without CONCURRENTLY: writes wait while its index is built. What is
-- below a view needs an index in its own columns. If a check's condition has changed, run indexes.rollback.sql first.
${created.join("")}`;

/** config/postgres/indexes.rollback.sql */
export const rollback = `\
-- Written by \`npm run generate\`. Takes indexes.sql back, without blocking writes. The checks work, and read more.
--   psql -v schema=public -f config/postgres/indexes.rollback.sql postgres://...

${dropped.join("")}`;
