import { readFile } from "node:fs/promises";
import path from "node:path";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { connect } from "./connect.ts";

/** A name, and a text, as SQL has them. */
export const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
export const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** The text of a file of SQL, by its path from the project's top folder, without the lines that only psql knows. */
export async function readSqlFile(file: string, leftOut: string[] = []): Promise<string> {
  const lines = (await readFile(path.join(import.meta.dirname, "..", file), "utf8")).split("\n");
  return lines.filter((line) => !line.startsWith("\\set ") && !leftOut.includes(line)).join("\n");
}

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

/** SQL: the name of a role by its oid. The owner of a database acts as pg_database_owner there, and nobody else. */
export const ownerName = (oid: string) => `(select rolname from pg_roles where pg_roles.oid = case ${oid}::regrole::text
  when 'pg_database_owner' then (select datdba from pg_database where datname = current_database()) else ${oid} end)`;

/** SQL: `below (oid)` of a `with recursive` has these relations, and the tables below a view or a partitioned table. */
export const below = (relations: string): string => `below (oid) as (
    ${relations}
    union
    select next.oid from below, lateral (
      select refobjid from pg_rewrite join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
      where ev_class = below.oid and ev_type = '1' and refclassid = 'pg_class'::regclass
      union all
      select inhrelid from pg_inherits where inhparent = below.oid
    ) as next (oid)
  )`;
