import { checks, rowsOf } from "../../lib/checks.ts";
import { codeOf } from "../../lib/database.ts";
import { doubt, type Finding, orRemedy, well } from "../finding.ts";
import { sqlText } from "../quote.ts";
import { view } from "../remedies.ts";
import type { Session } from "./look.ts";

/**
 * Lists the rows of the ledger that somebody has accepted, one line each: the soonest to run out comes first. An
 * acceptance of no counted row, or of several, is a doubt: its id may be of another row, written in another way, or not
 * an id.
 */
export async function lookAtAccepted({ ask }: Pick<Session, "ask">): Promise<Finding> {
  const [table] = await orRemedy(ask("select to_regclass('ledger_metrics.accepted') as oid"), "npm run migrate");
  if (!table?.oid) return well("none: without npm run migrate, no row can be accepted");
  const accepted = "from ledger_metrics.accepted where until > now()";
  const rows = await orRemedy(
    ask(`select "check", id, accepted_by, why, to_char(until at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as until
      ${accepted} order by accepted.until`),
    "npm run migrate",
  );
  const [first = "none", ...more] = rows.map(
    ({ check, id, until, accepted_by, why }) => `${check} ${id}, until ${until} UTC, by ${accepted_by}: ${why}`,
  );
  const idle: string[] = [];
  const several: string[] = [];
  const withoutIds: string[] = [];
  for (const check of checks.filter(({ id }) => rows.some((row) => row.check === id))) {
    // On its own: below `accepted`, a ledger without ids would lend the ids of the acceptances.
    const counted = `with counted as materialized (select id::text as id ${rowsOf(check)})`;
    // Where they cannot be read, the check's own look says why.
    const found = await ask(`${counted} select id, (select count(*)::int from counted where counted.id = accepted.id) as
      rows from (select distinct id ${accepted} and "check" = '${check.id}') as accepted`).catch((error) => {
      if (codeOf(error) === "42703") withoutIds.push(check.id);
      return [];
    });
    idle.push(...found.filter((row) => row.rows === 0).map((row) => `('${check.id}', ${sqlText(row.id)})`));
    several.push(...found.filter((row) => row.rows > 1).map((row) => `${row.rows} ${check.id} by ${row.id}`));
  }
  if (withoutIds.length > 0) {
    return {
      ...doubt(first, `an id of the rows of ${withoutIds.join(", ")}: without it, none is accepted`, view),
      more,
    };
  }
  if (several.length > 0) {
    return { ...doubt(first, `an id of one row, and not ${several.join(", ")}`, `an id of each row: ${view}`), more };
  }
  if (idle.length === 0) return { ...well(first), more };
  const repaired =
    "a row that was repaired needs this no more. Otherwise accept the id that the check's page lists, as it is there";
  const these = idle.join(", ");
  const sql = `begin read write; delete from ledger_metrics.accepted where ("check", id) in (${these}); commit`;
  const expected = `rows that count now, and not ${these}`;
  return { ...doubt(first, expected, repaired, { as: "veza_ledger_oncall", sql }), more };
}
