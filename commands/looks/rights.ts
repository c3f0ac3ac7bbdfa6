import type { Row } from "postgres";
import { lackingOf, ledgerRights, ourRights } from "../../config/rights.ts";
import type { Ask } from "../../lib/question.ts";
import { type Finding, type Step, well, wrong } from "../finding.ts";
import { isOurs, ownedView } from "../remedies.ts";
import { literal, ownerName } from "../sql.ts";
import type { Scene, Session } from "../take-looks.ts";

/** Whether the login has all rights that its functions need. */
export async function lookAtRights({ askCatalogue, login, functions }: Scene & Session): Promise<Finding> {
  const needed = [
    ...(functions.sampler ? ["veza_ledger_sampler"] : []),
    ...(functions.receiver ? ["veza_ledger_receiver"] : []),
  ];
  return await compare(askCatalogue, login, needed);
}

/** Whether people on call have theirs, where there is their role. */
export async function lookAtOncall({ askCatalogue: ask }: Session): Promise<Finding | undefined> {
  const oncall = "veza_ledger_oncall";
  const [row] = await ask(`select from pg_roles where rolname = '${oncall}'`);
  return row && (await compare(ask, oncall, [oncall]));
}

async function compare(ask: Ask, login: string, roles: string[]): Promise<Finding> {
  const missing = await missingRights(ask, login, roles);
  if (missing.length === 0) return well("all that are needed");
  const found = missing.map(({ role, what }) => `${role} lacks ${what}`).join("; ");
  const steps = missing.map(({ role, owner, sql, is_login }): Step => {
    if (isOurs(role)) return "npm run migrate";
    return is_login && role !== login ? ownedView : { as: owner, sql }; // A login of the shop's gets no right.
  });
  const unique = [...new Map(steps.map((step) => [JSON.stringify(step), step])).values()];
  return wrong(found, "the rights of roles.sql, and those below a view for its owner or caller", ...unique);
}

/**
 * Compares the rights of a login with the rights of these roles of roles.sql, also below views. Leaves out tables and
 * columns that are not there. A row has the role, the owner who may grant, what is missing, and the grant.
 */
export async function missingRights(ask: Ask, login: string, roles: string[]): Promise<Row[]> {
  const rights = [...ledgerRights, ...ourRights].filter(({ role }) => roles.includes(role));
  const wanted = JSON.stringify(rights.map((right) => ({ ...right, role: login })));
  return await ask(`
    with recursive ${lackingOf(`${literal(wanted)}::jsonb`)},
    missing (role, owner, what, target) as (
      select ${literal(login)}, datdba, 'connect', format('database %I', datname)
      from pg_database
      where datname = current_database() and not has_database_privilege(${literal(login)}, oid, 'connect')
      union all
      select distinct role, nspowner, 'usage', format('schema %I', nspname)
      from named join pg_class using (oid) join pg_namespace on pg_namespace.oid = relnamespace
      where not has_schema_privilege(role, pg_namespace.oid, 'usage')
      union all
      select role, relowner, privilege || coalesce(' (' || string_agg(quote_ident(attname), ', ' order by attnum)
          || ')', ''),
        format('%s.%I', relnamespace::regnamespace, relname)
      from lacking join pg_class using (oid) group by role, privilege, relowner, relnamespace, relname
    )
    select role, ${ownerName("owner")} as owner, what || ' on ' || target as what,
      format('grant %s on %s to %I', what, target, role) as sql, role in (
        select rolname from pg_roles where rolcanlogin) as is_login
    from missing order by target, what`);
}
