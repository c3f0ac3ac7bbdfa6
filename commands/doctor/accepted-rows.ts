// The look "accepted rows": lists what people have accepted, and doubts what accepts no counted row.
import { inForce, measureOpen } from "../../lib/accepted.ts";
import { checks, rowsOf, runChecks } from "../../lib/checks.ts";
import { sqlText } from "../quote.ts";
import { doubt, type Finding, orRemedy, well } from "./finding.ts";
import { installAgain } from "./remedies.ts";
import type { LedgerScene } from "./scene.ts";

/**
 * Lists what somebody has accepted, one line each: the soonest to run out comes first. An acceptance of no counted row
 * is a doubt: its id may be of another row, written in another way, or not an id; and a backlog may be gone.
 */
export async function lookAtAcceptedRows({ ask }: Pick<LedgerScene, "ask">): Promise<Finding> {
  const utc = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD HH24:MI')`;
  const rows = await orRemedy(
    ask(`select "check", id, ${utc("up_to")} as up_to, accepted_by, why, ${utc("until")} as until
      from ${inForce} as accepted order by accepted.until`),
    installAgain,
  );
  const [first = "none", ...more] = rows.map(
    ({ check, id, up_to, until, accepted_by, why }) =>
      `${check} ${id ?? `up to ${up_to} UTC`}, until ${until} UTC, by ${accepted_by}: ${why}`,
  );
  const idle: { what: string; values: string }[] = [];
  const open = await measureOpen(ask);
  for (const check of checks.filter(({ id }) => rows.some((row) => row.check === id))) {
    // On its own: below `accepted`, a ledger without ids would lend the ids of the acceptances. Where it has none, the
    // look at its columns says so.
    const counted = `with counted as materialized (select id::text as id ${rowsOf(check)})`;
    const found = await ask(`${counted} select id from ${inForce} as accepted where "check" = '${check.id}'
      and id is not null and id not in (select id from counted where id is not null)`).catch(() => []);
    for (const { id } of found) {
      idle.push({ what: `${check.id} ${id}`, values: `('${check.id}', ${sqlText(id)}, null, now(), 'taken back')` });
    }
    const moment = rows.find((row) => row.check === check.id && row.id === null);
    const known = open.get(check.id);
    const [outcome] = moment && known ? await runChecks(ask, [check]) : [];
    if (!moment || !known || !outcome || "error" in outcome || outcome.count > known.rows + known.byId) continue;
    const values = `('${check.id}', null, '${moment.up_to}Z', now(), 'taken back')`;
    idle.push({ what: `the backlog of ${check.id}`, values });
  }
  if (idle.length === 0) return { ...well(first), more };
  const repaired =
    "rows that were repaired need this no more. Otherwise accept the id that the check's page lists, as it is there";
  const sql =
    `begin read write; insert into ledger_metrics.accepted ("check", id, up_to, until, why) ` +
    `values ${idle.map(({ values }) => values).join(", ")}; commit`;
  const expected = `rows that count now, and not: ${idle.map(({ what }) => what).join(", ")}`;
  return { ...doubt(first, expected, repaired, { by: { role: "veza_ledger_oncall" }, sql }), more };
}
