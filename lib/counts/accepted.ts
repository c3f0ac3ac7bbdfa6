import { type Family, family, type Series, series } from "../gateway/exposition.ts";
import { own } from "../postgres/own-names.ts";
import { type Ask, read } from "../postgres/question.ts";
import { type Check, checks, oldestOf, overdueOf, rowsOf } from "./checks.ts";
import { type Outcome, oldestAmong, type Waiting } from "./counting.ts";

// Rows that a check counts, and that a person has accepted until a day. A person accepts either one row, by its id, or
// a backlog, by a moment: all rows from before it. The counts keep accepted rows, the alerts do not.

export const acceptedMetric = "veza_ledger_accepted_rows";
export const acceptedUntilMetric = "veza_ledger_accepted_until_timestamp_seconds";

export const acceptedFamilies: Family[] = [
  family("gauge", acceptedMetric, "Rows counted that a person has accepted."),
  family("gauge", acceptedUntilMetric, "Unix time until which a backlog is accepted; absent where it hides no row."),
];

/** SQL: the acceptances in force. The newest about a row, or about a check's moment, counts: it may end others. */
export const inForce = own(`(
    select * from (
      select distinct on ("check", id) * from ledger_metrics.accepted order by "check", id, accepted_at desc
    ) as newest where until > now()
  )`);

const acceptedChecks = own(`
  select "check", count(*) filter (where id is not null) as ids,
    extract(epoch from max(until) filter (where id is null))::numeric as until
  from ${inForce} as accepted group by 1`);

/**
 * SQL: a condition: the check's moment does not accept the row. A moment accepts what had counted when it was written:
 * orders of its last minutes may get stuck later. A time that is missing, or before 1971, may be a new row's without a
 * time, so no moment accepts it.
 */
export const isAfterMoment = ({ id, time, staleAfter = "0 minutes" }: Check): string =>
  own(`(${time} > (
    select coalesce(max(least(up_to, accepted_at - interval '${staleAfter}')), '-infinity')
    from ${inForce} as moments where "check" = '${id}' and id is null
  ) or ${time} < '1971-01-01' or ${time} is null)`);

/**
 * SQL: what is known of the rows that nobody has accepted, and how many are accepted by their ids. Backlogs are left
 * out by the time alone. An id of several rows, as in a view of two tables, accepts none: it would hide a row that
 * nobody knows.
 */
function unacceptedQuestion(check: Check, { ids, moment }: { ids: boolean; moment: boolean }): string {
  const rows = `${rowsOf(check)}${moment ? `\n  and ${isAfterMoment(check)}` : ""}`;
  const accepted = `
  with ids as materialized (
    select id from ${inForce} as accepted where "check" = '${check.id}' and id is not null
  ),
  once as materialized (
    select id::text as id ${rowsOf(check)} and id::text in (select id from ids) group by 1 having count(*) = 1
  ),`;
  return own(`${ids ? accepted : "\n  with"}
  counted as (
    select ${check.time} as time, ${ids ? "coalesce(id::text in (select id from once), false)" : "false"} as is_accepted
    ${rows}
  )
  select count(*) filter (where is_accepted) as by_id, count(*) filter (where not is_accepted) as rows,
    ${overdueOf(check, "time", "not is_accepted")} as overdue,
    ${oldestOf("time", "not is_accepted")} as oldest
  from counted`);
}

/** Of a check with acceptances: what is known of the rows that nobody has accepted. */
export interface Unaccepted extends Waiting {
  rows: number;
  /** How many rows are accepted by their ids. */
  byId: number;
  /** Until when the check's backlog is accepted, in Unix seconds. */
  untilSeconds: number | undefined;
}

/**
 * Asks about the checks with acceptances, and resolves to what is known of their rows that nobody has accepted,
 * by the checks' ids. Takes a second round trip, and only where something is accepted. Never rejects: where it cannot
 * be read, nothing is accepted.
 */
export async function measureUnaccepted(ask: Ask): Promise<Map<string, Unaccepted>> {
  const unaccepted = new Map<string, Unaccepted>();
  const accepted = (await read(ask, "accepted", acceptedChecks)) ?? [];
  const askAbout = async (check: Check) => {
    const { ids, until } = accepted.find((row) => row.check === check.id) ?? {};
    if (ids === undefined) return;
    const question = unacceptedQuestion(check, { ids: Number(ids) > 0, moment: until !== null });
    const [row] = (await read(ask, check.id, question)) ?? [];
    if (!row) return;
    const rows = Number(row.rows);
    unaccepted.set(check.id, {
      rows,
      byId: Number(row.by_id),
      overdue: Number(row.overdue),
      oldestSeconds: oldestAmong(rows, row.oldest),
      untilSeconds: until === null ? undefined : Number(until),
    });
  };
  await Promise.all(checks.map(askAbout));
  return unaccepted;
}

/** The series of the checks with acceptances: how many rows of each count are accepted, and until when a backlog is. */
export function acceptedSeries(outcomes: Outcome[], unaccepted: Map<string, Unaccepted>): Series[] {
  return outcomes.flatMap((outcome) => {
    const labels = { check: outcome.check.id };
    const known = unaccepted.get(outcome.check.id);
    if (!known || "error" in outcome) return [];
    const { rows, byId, untilSeconds } = known;
    const accepted = Math.max(0, outcome.count - rows); // Both are of one tick, and not of one instant.
    const until = accepted > byId && untilSeconds ? [series(acceptedUntilMetric, labels, untilSeconds)] : [];
    return [series(acceptedMetric, labels, accepted), ...until];
  });
}
