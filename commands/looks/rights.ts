import type { Ask } from "../../lib/question.ts";
import { type Finding, type Scene, well, wrong } from "../look.ts";
import { readGrants } from "../roles-sql.ts";
import { literal, ownerName, tableNamed } from "../sql.ts";

const oncall = "veza_ledger_oncall";

/** Whether the login has all rights that its functions need. */
export async function lookAtRights({ ask, login, functions }: Scene): Promise<Finding> {
  if (login === oncall) return await compare(ask, login, [oncall]); // A person's first look, and no function.
  const needed = [
    ...(functions.sampler ? ["veza_ledger_sampler"] : []),
    ...(functions.receiver ? ["veza_ledger_receiver"] : []),
  ];
  return await compare(ask, login, needed);
}

/** Whether people on call have theirs, where there is their role. */
export async function lookAtOncall({ ask }: Scene): Promise<Finding | undefined> {
  const [row] = await ask(`select from pg_roles where rolname = '${oncall}'`);
  return row && (await compare(ask, oncall, [oncall]));
}

async function compare(ask: Ask, login: string, roles: string[]): Promise<Finding> {
  const missing = await missingRights(ask, login, roles);
  if (missing.length === 0) return well("all that are needed");
  if (!/^veza_ledger/.test(login)) return wrong(`${login} lacks rights`, missing.join("; "));
  const what = missing.map((statement) => /grant (.*) to /.exec(statement)?.[1]);
  return wrong(`${login} lacks ${what.join(", ")}`, "npm run migrate");
}

/**
 * Compares the rights of a login with the rights of these roles of roles.sql. Returns the missing grants, each as
 * `as <owner>: grant … to <login>`. Leaves out tables and columns that are not there.
 */
async function missingRights(ask: Ask, login: string, bases: string[]): Promise<string[]> {
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
