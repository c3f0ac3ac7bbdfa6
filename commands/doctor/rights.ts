// The look "rights": which of the declared rights the login lacks.
import { ledgerRights, ourRights, outboxRights, type Role, roleOf } from "../declared-rights.ts";
import { sqlText } from "../quote.ts";
import { type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";
import { installAgain, outboxAgain } from "./shared-steps.ts";

/** Whose rights this login needs: the role's own, or those of both functions. */
const rolesWithRightsOf = (role: Role): Role[] =>
  role === "veza_ledger" ? ["veza_ledger_sampler", "veza_ledger_receiver"] : [role];

/**
 * Which declared rights this login lacks. Undefined for somebody else's login. A relation that is not there lacks
 * nothing: other looks say so.
 */
export async function lookAtRights({ ask, login, database }: LedgerScene): Promise<Finding | undefined> {
  const role = roleOf(login);
  if (!role) return undefined;
  const roles = rolesWithRightsOf(role);
  const rights = [...ledgerRights, ...outboxRights, ...ourRights].filter((right) => roles.includes(right.role));
  const needs = rights.flatMap(({ privilege, table, columns }) => {
    const [name, place = database.ledger.schema] = table.split(".").reverse();
    return (columns.length > 0 ? columns : [null]).map((column) => ({ privilege, name, place, column }));
  });
  const lacking = await ask(`
    select distinct case
        when not has_schema_privilege(pg_namespace.oid, 'usage') then format('usage on schema %I', nspname)
        else format('%s on %I.%I', privilege || coalesce(' (' || quote_ident("column") || ')', ''), nspname, relname)
      end as "right"
    from jsonb_to_recordset(${sqlText(JSON.stringify(needs))})
        as need (privilege text, name text, place text, "column" text)
      join pg_namespace on nspname = place
      join pg_class on relnamespace = pg_namespace.oid and relname = name
      left join pg_attribute on attrelid = pg_class.oid and attname = "column" and not attisdropped
    where not has_schema_privilege(pg_namespace.oid, 'usage')
      or case when "column" is null then not has_table_privilege(pg_class.oid, privilege)
        else not has_column_privilege(pg_class.oid, attnum, privilege) end
    order by 1`);
  const [first] = lacking;
  if (!first) return well("all that it needs");
  const others = lacking.length > 1 ? `; and ${lacking.length - 1} more` : "";
  const lacks = `${login} lacks ${first.right}${others}`;
  if (/ledger_outbox\b/.test(first.right)) return wrong(lacks, "the rights of clients/go/outbox.sql", outboxAgain);
  return wrong(lacks, "the rights of roles.sql", installAgain);
}
