// The look "neighbours": who else may create in the ledger's schemas, has the rights of our logins, or has an outbox.
import { sessionQuestion } from "../../lib/postgres/session-facts.ts";
import { loginsOf, roleNames, tables } from "../declared-rights.ts";
import { sqlName, sqlText } from "../quote.ts";
import { doubt, type Finding, type Step, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

const listOf = (texts: readonly string[]) => `(${texts.map(sqlText).join(", ")})`;

/**
 * Names who else may create in the ledger's schemas. Doubts who may make a table there that then counts: a schema of
 * several lacks it, and a later one has it. Doubts who else has the rights of our logins. An outbox of a neighbour's is
 * wrong.
 */
export async function lookAtNeighbours({ ask, database }: LedgerScene): Promise<Finding> {
  const { schemas } = database.ledger;
  const [facts] = await ask(sessionQuestion(tables));
  if (facts?.outboxProblem) {
    const [outbox] = await ask(`
      select pg_get_userbyid(relowner) as owner from pg_class where oid = to_regclass('public.ledger_metrics_outbox')`);
    return wrong(
      `public.ledger_metrics_outbox ${facts.outboxProblem}: it is not read`,
      "the table of clients/go/outbox.sql, of who owns the ledger's tables",
      "if it is the reconciler's, in one transaction: " +
        "alter table public.ledger_metrics_outbox owner to who owns the ledger's tables; " +
        `grant select, insert, update, delete on public.ledger_metrics_outbox to ${sqlName(outbox?.owner)}`,
      "otherwise have its owner drop it",
    );
  }
  const path = `array[${schemas.map(sqlText)}]::name[]`;
  const creators = await ask(`
    select distinct schema.nspname as schema, pg_get_userbyid(schema.nspowner) as owner,
      case when grantee <> 0 then pg_get_userbyid(grantee) end as name,
      exists (
        select from pg_class as found join pg_namespace as later on later.oid = relnamespace
        where found.oid in (${tables.map((table) => `to_regclass('${table}')`)})
          and array_position(${path}, later.nspname) > array_position(${path}, schema.nspname)
      ) as "mayCount"
    from pg_namespace as schema, aclexplode(nspacl) as acl
    where nspname in ${listOf(schemas)} and privilege_type = 'CREATE' and grantee <> nspowner
      and grantee not in (select oid from pg_roles where rolsuper)
      and grantee not in (select relowner from pg_class
        where relnamespace = schema.oid and relname in ${listOf(tables)})
    order by 1, 3`);
  const members = await ask(`
    select ours.rolname as role, other.rolname as name
    from pg_auth_members join pg_roles as ours on ours.oid = roleid join pg_roles as other on other.oid = member
    where ours.rolname in ${listOf(roleNames)} and not (other.rolsuper or other.rolcreaterole)
      and other.rolname not in ${listOf(roleNames.flatMap(loginsOf))}
      and case when current_setting('server_version_num')::int >= 160000
        then pg_has_role(member, roleid, 'usage') or pg_has_role(member, roleid, 'set') else true end
    order by 1, 2`);
  const creating = creators.map(({ schema, owner, name, mayCount }) => {
    const who = name === null ? "PUBLIC" : sqlName(name);
    const step: Step = { by: { role: owner }, sql: `revoke create on schema ${sqlName(schema)} from ${who}` };
    return { what: `${who} may create in ${sqlName(schema)}`, step, mayCount };
  });
  const having = members.map(({ role, name }) => ({
    what: `${sqlName(name)} has the rights of ${role}`,
    step: { by: "superuser", sql: `revoke ${role} from ${sqlName(name)}` } satisfies Step,
  }));
  const counting = creating.filter(({ mayCount }) => mayCount);
  const others = creating.filter(({ mayCount }) => !mayCount).map(({ what }) => what);
  const harmless = others.length > 0 ? [`${others.join(", ")}, and can change no count`] : [];
  if (having.length + counting.length === 0) return well(harmless.join() || "none");
  const found = [
    ...having.map(({ what }) => what),
    ...counting.map(({ what }) => `${what}, and so a table that counts instead of one in a later schema`),
    ...harmless,
  ];
  return doubt(found.join("; "), "nobody else", ...[...having, ...counting].map(({ step }) => step));
}
