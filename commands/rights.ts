import type { Row } from "postgres";
import { literal, readSqlFile } from "./sql.ts";

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

/**
 * Compares the rights of a login with the rights of these roles of roles.sql. Returns the missing grants, each as
 * `as <owner>: grant … to <login>`. Leaves out tables and columns that are not there.
 */
export async function missingRights(
  ask: (question: string) => PromiseLike<Row[]>,
  login: string,
  bases: string[],
): Promise<string[]> {
  const grants = (await readGrants()).filter(({ roles }) => roles.some((role) => bases.includes(role)));
  const wanted = grants.flatMap(({ kind, names, privileges }) =>
    names.flatMap((name) => privileges.map(({ name: privilege, columns }) => ({ kind, name, privilege, columns }))),
  );
  const rows = await ask(`
    with given as (select ${literal(login)}::name as login),
    wanted as (
      select * from jsonb_to_recordset(${literal(JSON.stringify(wanted))})
        as wanted (kind text, name text, privilege text, columns text[])
    ),
    tables as (
      select privilege, columns, pg_class.* from wanted join pg_class on oid = ${tableNamed("name")}
      where kind = 'table'
    ),
    lacking (owner, privilege, columns, target) as (
      select datdba, 'connect', null, format('database %I', datname)
      from pg_database, given where datname = current_database() and not has_database_privilege(login, oid, 'connect')
      union all
      select nspowner, 'usage', null, format('schema %I', nspname)
      from pg_namespace, given where not has_schema_privilege(login, oid, 'usage')
        and (nspname in (select name from wanted where kind = 'schema') or oid in (select relnamespace from tables))
      union all
      select relowner, privilege, missing, format('%s.%I', relnamespace::regnamespace, relname)
      from tables, given, lateral (
        select string_agg(quote_ident(attname), ', ' order by attnum) as missing from pg_attribute
        where attrelid = oid and not attisdropped
          and case when attname = any (columns) then not has_column_privilege(login, attrelid, attnum, privilege) end
      ) as by_column
      where missing is not null or columns = '{}' and not has_table_privilege(login, oid, privilege)
    )
    select format('as %s: grant %s%s on %s to %I', ${ownerName("owner")}, privilege,
      ' (' || string_agg(distinct columns, ', ') || ')', target, ${literal(login)}) as remedy
    from lacking group by owner, privilege, target order by target, privilege`);
  return rows.map(({ remedy }) => remedy);
}
