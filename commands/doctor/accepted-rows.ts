// The look "accepted rows": lists what people have accepted, and doubts what accepts no counted row.
import { inForce, isAfterMoment } from "../../lib/counts/accepted.ts";
import { type Check, checks, rowsOf } from "../../lib/counts/checks.ts";
import { sqlText } from "../quote.ts";
import { doubt, type Finding, orRemedy, well } from "./finding.ts";
import type { AskWithin, LedgerScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/** An acceptance that accepts no row: what it is about, and the row of SQL that takes it back. */
interface Idle {
  what: string;
  takenBack: string;
}

/**
 * Lists what somebody has accepted, one line each: the soonest to run out comes first. An accepted id of no counted row
 * is a doubt: it may be of another row, written in another way, or not an id. An alert tells of a backlog that is gone.
 */
export async function lookAtAcceptedRows({ ask }: Pick<LedgerScene, "ask">): Promise<Finding> {
  const utc = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD HH24:MI')`;
  const accepted = await orRemedy(
    ask(`select "check", id, ${utc("up_to")} as up_to, accepted_by, why, ${utc("until")} as until
      from ${inForce} as accepted order by accepted.until`),
    installAgain,
  );
  const idle: Idle[] = [];
  const backlogs: Record<string, string> = {};
  for (const check of checks) {
    const ofCheck = accepted.filter((row) => row.check === check.id);
    if (ofCheck.length > 0) idle.push(...(await idleIds(ask, check)));
    if (ofCheck.some(({ id }) => id === null)) backlogs[check.id] = await sizeOfBacklog(ask, check);
  }
  const [first = "none", ...more] = accepted.map(({ check, id, up_to, until, accepted_by, why }) => {
    const what = id ?? `up to ${up_to} UTC${backlogs[check]}`;
    return `${check} ${what}, until ${until} UTC, by ${accepted_by}: ${why}`;
  });
  if (idle.length === 0) return { ...well(first), more };
  const sql =
    `begin read write; insert into ledger_metrics.accepted ("check", id, up_to, until, why) ` +
    `values ${idle.map(({ takenBack }) => takenBack).join(", ")}; commit`;
  const finding = doubt(
    first,
    `rows that count now, and not: ${idle.map(({ what }) => what).join(", ")}`,
    "rows that were repaired need this no more. Otherwise accept the id that its alert's entry lists, as it is there",
    { by: { role: "veza_ledger_oncall" }, sql },
  );
  return { ...finding, more };
}

/** How many rows the moment of a check accepts, with a comma before it. Nothing where they cannot be counted. */
async function sizeOfBacklog(ask: AskWithin, check: Check): Promise<string> {
  const [row] = await ask(`select count(*) as rows ${rowsOf(check)} and not ${isAfterMoment(check)}`).catch(() => []);
  return row ? `, ${row.rows} ${row.rows === "1" ? "row" : "rows"}` : "";
}

/** The accepted ids of a check that no counted row has. None where its rows have no ids: another look says so. */
async function idleIds(ask: AskWithin, check: Check): Promise<Idle[]> {
  // The rows are read on their own: inside the query below, a ledger without ids would lend the acceptances' ids.
  const counted = `with counted as materialized (select id::text as id ${rowsOf(check)})`;
  const found = await ask(`${counted} select id from ${inForce} as accepted where "check" = '${check.id}'
    and id is not null and id not in (select id from counted where id is not null)`).catch(() => []);
  return found.map(({ id }) => ({
    what: `${check.id} ${id}`,
    takenBack: `('${check.id}', ${sqlText(id)}, null, now(), 'taken back')`,
  }));
}
