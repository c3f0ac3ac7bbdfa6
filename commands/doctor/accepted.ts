import { checks, rowsOf } from "../../lib/checks.ts";
import { again, doubt, type Finding, orRemedy, well } from "../finding.ts";
import { sqlText } from "../quote.ts";
import type { Session } from "./look.ts";

/**
 * Lists the rows of the ledger that somebody has accepted, one line each: the soonest to run out comes first. An
 * acceptance of no counted row is a doubt: its id may be of another row, written in another way, or not an id.
 */
export async function lookAtAccepted({ ask }: Pick<Session, "ask">): Promise<Finding> {
  const accepted = "from ledger_metrics.accepted where until > now()";
  const rows = await orRemedy(
    ask(`select "check", id, accepted_by, why, to_char(until at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as until
      ${accepted} order by accepted.until`),
    again,
  );
  const [first = "none", ...more] = rows.map(
    ({ check, id, until, accepted_by, why }) => `${check} ${id}, until ${until} UTC, by ${accepted_by}: ${why}`,
  );
  const idle: string[] = [];
  for (const check of checks.filter(({ id }) => rows.some((row) => row.check === id))) {
    // On its own: below `accepted`, a ledger without ids would lend the ids of the acceptances. Where it has none, the
    // look at its columns says so.
    const counted = `with counted as materialized (select id::text as id ${rowsOf(check)})`;
    const found = await ask(`${counted} select distinct id ${accepted} and "check" = '${check.id}'
      and id not in (select id from counted where id is not null)`).catch(() => []);
    idle.push(...found.map((row) => `('${check.id}', ${sqlText(row.id)})`));
  }
  if (idle.length === 0) return { ...well(first), more };
  const repaired =
    "a row that was repaired needs this no more. Otherwise accept the id that the check's page lists, as it is there";
  const these = idle.join(", ");
  const sql = `begin read write; delete from ledger_metrics.accepted where ("check", id) in (${these}); commit`;
  const expected = `rows that count now, and not ${these}`;
  return { ...doubt(first, expected, repaired, { as: "veza_ledger_oncall", sql }), more };
}
