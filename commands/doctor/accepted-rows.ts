// The look "accepted rows": lists what people have accepted, and doubts what accepts no counted row.
import { acceptedIds, isOfFirstDay } from "../../lib/counts/accepted.ts";
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
    ask(`select "check", id, accepted_by, why, ${utc("until")} as until
      from ledger_metrics.accepted_now as accepted order by accepted.until`),
    installAgain,
  );
  const [firstDay] = await ask(`select ${utc("until")} as until from ledger_metrics.first_day where until > now()`);
  const idle: Idle[] = [];
  const before: string[] = [];
  for (const check of checks) {
    if (accepted.some((row) => row.check === check.id)) idle.push(...(await idleIds(ask, check)));
    const [row] = firstDay ? await ask(`select count(*) as rows ${rowsOf(check)} and ${isOfFirstDay(check)}`) : [];
    if (row?.rows > 0) before.push(`${check.id}: ${row?.rows} from before the first day, until ${firstDay?.until} UTC`);
  }
  const [first = "none", ...more] = [
    ...before,
    ...accepted.map(
      ({ check, id, until, accepted_by, why }) => `${check} ${id}, until ${until} UTC, by ${accepted_by}: ${why}`,
    ),
  ];
  if (idle.length === 0) return { ...well(first), more };
  const sql =
    `begin read write; insert into ledger_metrics.accepted ("check", id, until, why) ` +
    `values ${idle.map(({ takenBack }) => takenBack).join(", ")}; commit`;
  const finding = doubt(
    first,
    `rows that count now, and not: ${idle.map(({ what }) => what).join(", ")}`,
    "rows that were repaired need this no more. Otherwise accept the id that its alert's entry lists, as it is there",
    { by: { role: "veza_ledger_oncall" }, sql },
  );
  return { ...finding, more };
}

/** The accepted ids of a check that no counted row has. None where its rows have no ids: another look says so. */
async function idleIds(ask: AskWithin, check: Check): Promise<Idle[]> {
  const found = await ask(`${acceptedIds(check)} and id not in (select id::text ${rowsOf(check)})`).catch(() => []);
  return found.map(({ id }) => ({
    what: `${check.id} ${id}`,
    takenBack: `('${check.id}', ${sqlText(id)}, now(), 'taken back')`,
  }));
}
