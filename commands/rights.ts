import type { Row } from "postgres";
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

/** The roles of roles.sql whose rights a login of this name needs; for any other name, the roles that you expect. */
export function basesOf(login: string, expected: string[] = []): string[] {
  const name = login.replace(/_clone$/, "");
  if (name === "veza_ledger") return ["veza_ledger_sampler", "veza_ledger_receiver"];
  return /^veza_ledger_(sampler|receiver|oncall)$/.test(name) ? [name] : expected;
}

/**
 * SQL: the oid of the table that the session's search_path leads to, or NULL. Looks into schemas without USAGE, too:
 * to_regclass() skips them, as if the table were not there.
 */
export const tableNamed = (name: string): string => `(
  select pg_class.oid from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    join unnest(string_to_array(current_setting('search_path'), ',')) with ordinality as path (entry, position)
      on nspname = replace(trim(both '" ' from entry), '$user', session_user)
  where relname = '${name}' and relkind in ('r', 'p', 'v', 'm', 'f') order by position limit 1)`;

/** SQL: the name of a role by its oid. The owner of a database acts as pg_database_owner there, and nobody else. */
export const ownerName = (oid: string) => `(select rolname from pg_roles where pg_roles.oid = case ${oid}::regrole::text
  when 'pg_database_owner' then (select datdba from pg_database where datname = current_database()) else ${oid} end)`;

/**
 * Compares the rights of a login with the rights of these roles of roles.sql. Returns the missing grants, each as
 * `as <owner>: grant … to <grantee>`. Leaves out tables and columns that are not there.
 */
export async function missingRights(
  ask: (question: string) => PromiseLike<Row[]>,
  login: string,
  bases: string[],
  grantee = login,
): Promise<string[]> {
  const lacks: string[] = [
    `select ${ownerName("datdba")}, 'connect', null, format(' on database %I to %I', datname, grantee)
     from pg_database, given where datname = current_database() and not has_database_privilege(login, oid, 'connect')`,
  ];
  for (const { privileges, kind, names, roles } of await readGrants()) {
    if (!roles.some((role) => bases.includes(role))) continue;
    for (const name of names) {
      if (kind === "schema") {
        lacks.push(lackOfSchema(`nspname = '${name}'`));
        continue;
      }
      const oid = name.includes(".") ? `(${regclassWithoutRights(name)})` : tableNamed(name);
      if (!name.includes(".")) lacks.push(lackOfSchema(`oid = (select relnamespace from pg_class where oid = ${oid})`));
      for (const { name: privilege, columns } of privileges) {
        const table = `(select oid, relowner, relnamespace::regnamespace || '.' || quote_ident(relname) as name
          from pg_class where oid = ${oid}) as found`;
        lacks.push(
          columns.length === 0
            ? `select ${ownerName("relowner")}, '${privilege}', null, format(' on %s to %I', name, grantee)
               from ${table}, given where not has_table_privilege(login, oid, '${privilege}')`
            : `select ${ownerName("relowner")}, '${privilege}', missing, format(' on %s to %I', name, grantee)
               from ${table}, given, lateral (select string_agg(quote_ident(attname), ', ' order by attnum) as missing
                 from pg_attribute where attrelid = oid and attname in ('${columns.join("', '")}') and not attisdropped
                 and not has_column_privilege(login, attrelid, attnum, '${privilege}')) as columns
               where missing is not null`,
        );
      }
    }
  }
  const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
  const rows = await ask(`
    with given as (select ${literal(login)}::name as login, ${literal(grantee)}::name as grantee)
    select owner, format('grant %s%s%s', privilege, ' (' || string_agg(distinct columns, ', ') || ')', target) as grant
    from (${lacks.join("\nunion all\n")}) as lacking (owner, privilege, columns, target)
    group by owner, privilege, target order by target, privilege`);
  return rows.map(({ owner, grant }) => `as ${owner}: ${grant}`);
}

const lackOfSchema = (which: string) => `
  select ${ownerName("nspowner")}, 'usage', null, format(' on schema %I to %I', nspname, grantee)
  from pg_namespace, given where ${which} and not has_schema_privilege(login, oid, 'usage')`;

/** SQL: the oid of `schema.table`, also where the schema may not be used. */
function regclassWithoutRights(name: string): string {
  const [schema, table] = name.split(".");
  return `select pg_class.oid from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where nspname = '${schema}' and relname = '${table}'`;
}
