// The look "neighbours": who else has the rights of our logins, or an outbox.
import { sessionQuestion } from "../../lib/postgres/session-facts.ts";
import { loginsOf, roleNames, tables } from "../declared-rights.ts";
import { sqlName, sqlText } from "../quote.ts";
import { doubt, type Finding, type Step, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

const listOf = (texts: readonly string[]) => `(${texts.map(sqlText).join(", ")})`;

/** Doubts who else has the rights of our logins. An outbox of a neighbour's is wrong. */
export async function lookAtNeighbours({ ask, database }: LedgerScene): Promise<Finding> {
  const [facts] = await ask(sessionQuestion(database.ledger.schema, tables));
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
  const members = await ask(`
    select ours.rolname as role, other.rolname as name
    from pg_auth_members join pg_roles as ours on ours.oid = roleid join pg_roles as other on other.oid = member
    where ours.rolname in ${listOf(roleNames)} and not (other.rolsuper or other.rolcreaterole)
      and other.rolname not in ${listOf(roleNames.flatMap(loginsOf))}
      and case when current_setting('server_version_num')::int >= 160000
        then pg_has_role(member, roleid, 'usage') or pg_has_role(member, roleid, 'set') else true end
    order by 1, 2`);
  const having = members.map(({ role, name }) => ({
    what: `${sqlName(name)} has the rights of ${role}`,
    step: { by: "superuser", sql: `revoke ${role} from ${sqlName(name)}` } satisfies Step,
  }));
  if (having.length === 0) return well("none");
  return doubt(having.map(({ what }) => what).join("; "), "nobody else", ...having.map(({ step }) => step));
}
