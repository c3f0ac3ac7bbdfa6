import type { Ask } from "../../lib/question.ts";
import { sqlText } from "../quote.ts";
import { roles, tables } from "./rights.ts";

// What the catalogs say, as values. No row, view or default of the application is read, and with this search_path none
// of its functions and operators is found.

/** SQL: begins each message of an administrator. No name leads to the application, until its transaction ends. */
export const safeSettings = `set local search_path = pg_catalog, pg_temp;
set local standard_conforming_strings = on;`;

export interface Relation {
  oid: string;
  schema: string;
  name: string;
  kind: "r" | "p" | "v" | "m" | "f" | "i";
  owner: string;
  /** Who may grant rights to it: this session, its owner, or a superuser. */
  by: string;
  columns: string[];
  /** Of a view: whether its caller needs the rights to what it reads, instead of its owner. */
  asksAsCaller: boolean;
  /** Of a view: which columns it reads. */
  reads: { oid: string; column: string }[];
}

export interface Role {
  name: string;
  alteredBy: string;
  grantedBy: string;
  memberOf: string[];
  /** The other databases of this server where it has rights. */
  elsewhere: string[];
}

export interface Facts {
  version: number;
  /** The role of this session, and the roles that it may take by `set role`. */
  login: string;
  mayBecome: string[];
  makesRoles: boolean;
  database: { oid: string; name: string; by: string; mayCreate: boolean };
  /** The checks that the comment on the constraint known_check lists. */
  knownCheck: string | null;
  roles: Role[];
  settings: { role: string; isHere: boolean; name: string; value: string }[];
  schemas: { oid: string; name: string; by: string }[];
  relations: Relation[];
}

const ours = `regexp_replace(rolname, '_clone$', '') = any ('{${Object.keys(roles).join(",")}}'::name[])`;
/** SQL: who acts for this owner: this session if it may, else the owner; for pg_database_owner, the database's. */
const actor = (owner: string) => `case when pg_has_role(${owner}, 'usage') then current_user
  else (select rolname from pg_roles where pg_roles.oid = case ${owner}::regrole::text when 'pg_database_owner'
    then (select datdba from pg_database where datname = current_database()) else ${owner} end) end`;

/** From PostgreSQL 16 on, CREATEROLE is a right to one's own roles, and not every member may `set role`. */
const since16 = "current_setting('server_version_num')::int >= 160000";
const makesRoles = "(select rolsuper or rolcreaterole from pg_roles where rolname = current_user)";

const server = `
  select current_setting('server_version_num')::int / 10000 as version, current_user as login,
    ${makesRoles} as "makesRoles",
    jsonb_build_object('oid', oid::text, 'name', datname, 'by', ${actor("datdba")},
      'mayCreate', has_database_privilege(oid, 'create')) as database,
    array(select rolname from pg_roles where not rolsuper and pg_has_role(oid, case when ${since16} then 'set'
      else 'member' end) and exists (select from pg_auth_members where roleid = pg_roles.oid)) as "mayBecome",
    (select obj_description(oid, 'pg_constraint') from pg_constraint where conname = 'known_check'
      and connamespace = (select oid from pg_namespace where nspname = 'ledger_metrics')) as "knownCheck"
  from pg_database where datname = current_database()`;

const known = `
  select rolname as name,
    case when ${makesRoles} and (is_admin or not ${since16}) then current_user
      when ${since16} then admin else 'a superuser' end as "alteredBy",
    case when is_admin or ${makesRoles} and not ${since16} then current_user else admin end as "grantedBy",
    array(select rolname from pg_auth_members join pg_roles as above on above.oid = roleid
      where member = pg_roles.oid) as "memberOf",
    array(select distinct datname from pg_shdepend join pg_database
        on pg_database.oid = case classid when 'pg_database'::regclass then objid else dbid end
      where refclassid = 'pg_authid'::regclass and refobjid = pg_roles.oid and datname <> current_database()
    ) as elsewhere
  from pg_roles, lateral (select pg_has_role(oid, 'usage with admin option') as is_admin,
    coalesce((select above.rolname from pg_auth_members join pg_roles as above on above.oid = member
      where roleid = pg_roles.oid and admin_option order by member limit 1), 'a superuser') as admin) as who
  where ${ours} or rolname in ('rds_iam', 'pg_read_all_stats') order by rolname`;

const settings = `
  select rolname as role, setdatabase <> 0 as "isHere", split_part(entry, '=', 1) as name,
    substr(entry, strpos(entry, '=') + 1) as value
  from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) as entry
  where ${ours} and setdatabase in (0, (select oid from pg_database where datname = current_database()))`;

const schemas = `select oid::text, nspname as name, ${actor("nspowner")} as by from pg_namespace`;

/** Relations with the ledger's names, wherever they are; ours; and all that views among them read. */
const relations = `
  with recursive reached (oid) as (
    select pg_class.oid from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where (relname = any ('{${[...tables, "ledger_metrics_outbox"].join(",")}}'::name[])
        and relkind in ('r', 'p', 'v', 'm', 'f') and nspname !~ '^(pg_|information_schema$)')
      or (nspname = 'ledger_metrics' and relkind in ('r', 'v', 'i'))
    union
    select refobjid from reached join pg_class as view on view.oid = reached.oid and view.relkind = 'v'
      join pg_rewrite on ev_class = view.oid and ev_type = '1'
      join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
        and refclassid = 'pg_class'::regclass and refobjsubid > 0
  )
  select pg_class.oid::text, nspname as schema, relname as name, relkind as kind, pg_get_userbyid(relowner) as owner,
    case when pg_has_role(relowner, 'usage') and has_schema_privilege(relnamespace, 'usage') then current_user
      when has_schema_privilege(relowner, relnamespace, 'usage') then ${actor("relowner")}
      else 'a superuser' end as by,
    array(select attname from pg_attribute where attrelid = pg_class.oid and attnum > 0 and not attisdropped
      order by attnum) as columns,
    exists (select from pg_options_to_table(reloptions)
      where option_name = 'security_invoker' and option_value::boolean) as "asksAsCaller",
    coalesce((select jsonb_agg(distinct jsonb_build_object('oid', refobjid::text, 'column', attname))
      from pg_rewrite join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
        and refclassid = 'pg_class'::regclass
      join pg_attribute on attrelid = refobjid and attnum = refobjsubid and attnum > 0
      where ev_class = pg_class.oid and ev_type = '1' and relkind = 'v'), '[]') as reads
  from reached join pg_class using (oid) join pg_namespace on pg_namespace.oid = relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'f', 'i')`;

const rowsOf = (question: string) => `coalesce((select jsonb_agg(fact) from (${question}) as fact), '[]')`;
const everything = `
  select to_jsonb(server) || jsonb_build_object('roles', ${rowsOf(known)}, 'settings', ${rowsOf(settings)},
    'schemas', ${rowsOf(schemas)}, 'relations', ${rowsOf(relations)}) as facts from (${server}) as server`;

/** Asks the catalogs, in one question. Rejects as `ask` does. */
export async function readFacts(ask: Ask): Promise<Facts> {
  const [row] = await ask(safeSettings + everything);
  return row?.facts;
}

/** Where the session that asks looks for a name. */
export async function sessionPath(ask: Ask): Promise<string[]> {
  const [row] = await ask(`select pg_catalog.replace(pg_catalog.current_setting('search_path'), '"$user"',
    pg_catalog.quote_ident(session_user)) as path`);
  return pathIn(row?.path);
}

/** The names in a search_path, but "$user": a role that may make schemas could make one of that name. */
export const pathIn = (text: string): string[] =>
  (text.match(/"(?:[^"]|"")*"|[^", ]+/g) ?? [])
    .map((entry) => (entry.startsWith('"') ? entry.slice(1, -1).replaceAll('""', '"') : entry.toLowerCase()))
    .filter((entry) => entry !== "" && entry !== "$user");

/** A right that a role needs. Without a column, to the whole; without an oid, to what is not there yet. */
export interface Need {
  role: string;
  privilege: string;
  on: "table" | "schema" | "database";
  oid?: string | undefined;
  column?: string | undefined;
  /** As SQL names it. */
  target: string;
  /** Who may grant it. */
  by: string;
}

/** The needs that neither PUBLIC, nor a membership, nor a right of the role itself meets. */
export async function unmet(ask: Ask, needs: Need[]): Promise<Need[]> {
  const asked = needs.map(({ by, target, ...need }, n) => ({ ...need, n }));
  const rows = await ask(`${safeSettings}
    select n from jsonb_to_recordset(${sqlText(JSON.stringify(asked))}) as need
        (n int, role name, privilege text, "on" text, oid oid, "column" text)
      left join pg_roles on rolname = role, lateral (select coalesce(pg_roles.oid, 0) as grantee) as who
    where need.oid is null or not case when "on" = 'database' then has_database_privilege(grantee, need.oid, privilege)
      when "on" = 'schema' then has_schema_privilege(grantee, need.oid, privilege)
      when "column" is null then has_table_privilege(grantee, need.oid, privilege)
      else has_column_privilege(grantee, need.oid, "column", privilege) end`);
  const lacking = new Set(rows.map(({ n }) => Number(n)));
  return needs.filter((_, n) => lacking.has(n));
}
