// The look "neighbours": who else may create in the ledger's schemas, has the rights of our logins, or has an outbox.
import { sessionQuestion } from "../../lib/postgres/session-facts.ts";
import { loginsOf, roleNames, tables } from "../declared-rights.ts";
import { sqlName, sqlText } from "../quote.ts";
import { doubt, type Finding, type Step, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

const listOf = (texts: readonly string[]) => `(${texts.map(sqlText).join(", ")})`;

/**
 * Names who else may create in the ledger's schemas: they change no count, unless a schema of several lacks a table,
 * and they make one of its name. Doubts who else has the rights of our logins. A neighbour's outbox is wrong.
 */
export async function lookAtNeighbours({ ask, database }: LedgerScene): Promise<Finding> {
  const { schemas } = database.ledger;
  const [facts] = await ask(sessionQuestion(tables));
  if (facts?.outboxProblem) {
    return wrong(
      `public.ledger_metrics_outbox ${facts.outboxProblem}: it is not read`,
      "the table of clients/go/outbox.sql, of who owns the ledger's tables",
      "if it is the reconciler's: alter table public.ledger_metrics_outbox owner to who owns the ledger's tables",
      "otherwise have its owner drop it",
    );
  }
  const creators = await ask(`
    select distinct nspname as schema, case grantee when 0 then 'PUBLIC' else pg_get_userbyid(grantee) end as name
    from pg_namespace, aclexplode(nspacl) as acl
    where nspname in ${listOf(schemas)} and privilege_type = 'CREATE' and grantee <> nspowner
      and grantee not in (select oid from pg_roles where rolsuper)
      and grantee not in (select relowner from pg_class
        where relnamespace = pg_namespace.oid and relname in ${listOf(tables)})
    order by 1, 2`);
  const members = await ask(`
    select ours.rolname as role, other.rolname as name
    from pg_auth_members join pg_roles as ours on ours.oid = roleid join pg_roles as other on other.oid = member
    where ours.rolname in ${listOf(roleNames)} and not (other.rolsuper or other.rolcreaterole)
      and other.rolname not in ${listOf(roleNames.flatMap(loginsOf))}
      and case when current_setting('server_version_num')::int >= 160000
        then pg_has_role(member, roleid, 'usage') or pg_has_role(member, roleid, 'set') else true end
    order by 1, 2`);
  const creating = creators.map(({ schema, name }) => `${sqlName(name)} may create in ${sqlName(schema)}`);
  if (members.length === 0 && (creating.length === 0 || schemas.length === 1)) {
    return well(creating.length > 0 ? `${creating.join(", ")}, and can change no count` : "none");
  }
  const having = members.map(({ role, name }) => `${sqlName(name)} has the rights of ${role}`);
  const revoking = members.map(
    ({ role, name }): Step => ({ by: "superuser", sql: `revoke ${role} from ${sqlName(name)}` }),
  );
  const lacking =
    "whoever may create in a schema can make a table there that it lacks, and that then counts: revoke that";
  return doubt(
    [...having, ...creating].join("; "),
    "nobody else",
    ...revoking,
    ...(creating.length > 0 && schemas.length > 1 ? [lacking] : []),
  );
}
