import { readSqlFile } from "./sql.ts";

// What each role needs: the grants of config/postgres/roles.sql, read from there.

interface Grant {
  /** `select`, or `select (status, created_at)`: the columns are empty when it is about all of them. */
  privileges: { name: string; columns: string[] }[];
  kind: "schema" | "table";
  names: string[];
  roles: string[];
}

/** The statements `grant … on …` of roles.sql. */
export async function readGrants(): Promise<Grant[]> {
  const text = (await readSqlFile("config/postgres/roles.sql")).replaceAll(/^--.*$/gm, "");
  const list = (names = "") => names.split(",").map((name) => name.trim().replaceAll('"', ""));
  return [...text.matchAll(/^ *grant ([^;]+?)\s+on (schema )?([^;]+?)\s+to ([^;]+);/gm)].map(
    ([, privileges = "", schema, names, roles]) => ({
      privileges: [...privileges.matchAll(/(\w+)(?: \(([^)]*)\))?/g)].map(([, name = "", columns]) => ({
        name,
        columns: columns ? list(columns) : [],
      })),
      kind: schema ? "schema" : "table",
      names: list(names),
      roles: list(roles),
    }),
  );
}

/** The columns of a table that the checks read. Accepted rows alone need its `id`. */
export async function columnsRead(table: string): Promise<string[]> {
  const grants = await readGrants();
  const ofSampler = grants.filter(({ names, roles }) => names.includes(table) && roles.includes("veza_ledger_sampler"));
  const columns = ofSampler.flatMap(({ privileges }) => privileges.flatMap(({ columns }) => columns));
  return columns.filter((column) => column !== "id");
}

/**
 * SQL: the oid of the table with this name, which is SQL too: `schema.table`, or where the session's search_path leads.
 * Looks into schemas without USAGE: to_regclass() skips them, as if the table were not there.
 */
export const tableNamed = (name: string): string => `(
  select pg_class.oid from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    left join unnest(string_to_array(current_setting('search_path'), ',')) with ordinality as path (entry, position)
      on nspname = replace(trim(both '" ' from entry), '$user', session_user)
  where (nspname || '.' || relname = ${name} or relname = ${name} and position is not null)
    and relkind in ('r', 'p', 'v', 'm', 'f') order by position limit 1)`;

/** SQL: the name of a role by its oid. The owner of a database acts as pg_database_owner there, and nobody else. */
export const ownerName = (oid: string) => `(select rolname from pg_roles where pg_roles.oid = case ${oid}::regrole::text
  when 'pg_database_owner' then (select datdba from pg_database where datname = current_database()) else ${oid} end)`;
