import { type Family, family, type Series, series } from "../gateway/exposition.ts";
import { type Ask, read } from "../postgres/question.ts";
import { type Check, checks, oldestOf, overdueOf, rowsOf } from "./checks.ts";
import { type Outcome, oldestAmong, type Waiting } from "./counting.ts";

// Rows that a check counts, and that are accepted until some time: by a person, by their ids, or since they were stuck
// on the first day. The counts keep accepted rows, the alerts do not.

export const acceptedMetric = "veza_ledger_accepted_rows";
export const acceptedUntilMetric = "veza_ledger_accepted_until_timestamp_seconds";

/** An acceptance for longer is one that people forget: its end is told beforehand. */
const longAfter = "14 days";

export const acceptedFamilies: Family[] = [
  family("gauge", acceptedMetric, "Rows counted that are accepted."),
  family(
    "gauge",
    acceptedUntilMetric,
    `Unix time of the next end of the first day, or of an acceptance for over ${longAfter}, that hides rows.`,
  ),
];

/** SQL: the ids that people have accepted of a check. */
const acceptedIds = ({ id }: Check): string => `select id from ledger_metrics.accepted_now where "check" = '${id}'`;

/** SQL: a condition: the check counted the row when the first day began, and the first day is not over. */
export const isOfFirstDay = ({ time, stuckAfter = "0 minutes" }: Check): string =>
  `${time} <= (select began_at - interval '${stuckAfter}' from ledger_metrics.first_day where until > now())`;

/**
 * SQL: a condition, never null: the row is accepted. `in` inside of coalesce() is no join to the planner, which knows
 * too little of a new table: it hashes the ids, however many they are.
 */
export const isAccepted = (check: Check, ids = acceptedIds(check)): string =>
  `coalesce(${isOfFirstDay(check)} or id::text in (${ids}), false)`;

/** SQL: which checks have accepted ids, and when the first day ends, if it is not over. */
const acceptances = `
  select array(select distinct "check" from ledger_metrics.accepted_now) as checks,
    (select extract(epoch from until)::numeric from ledger_metrics.first_day where until > now()) as until`;

/**
 * SQL: what is known of the rows that are not accepted; whether the first day accepts any; and when the next long
 * acceptance of a row that counts ends.
 */
const acceptanceQuestion = (check: Check, isFirstDay: boolean): string => `
  with accepted as materialized (
    select id, until, accepted_at from ledger_metrics.accepted_now where "check" = '${check.id}'
  )
  select count(*) as rows, ${overdueOf(check)} as overdue, ${oldestOf(check.time)} as oldest,
    ${isFirstDay ? `exists (select ${rowsOf(check)} and ${isOfFirstDay(check)})` : "false"} as "hasFirstDay",
    (select extract(epoch from min(until))::numeric from accepted where until > accepted_at + interval '${longAfter}'
      and coalesce(id in (select id::text ${rowsOf(check)}), false)) as until
  ${rowsOf(check)} and not ${isAccepted(check, "select id from accepted")}`;

/** Of a check with acceptances: what is known of the rows that nobody has accepted. */
export interface Acceptance extends Waiting {
  rows: number;
  /** The next end of the first day or of a long acceptance, in Unix seconds. Undefined where these hide no row. */
  untilSeconds: number | undefined;
}

/**
 * Asks about the checks with acceptances, and resolves to what is known of their rows that nobody has accepted,
 * by the checks' ids. Takes a second round trip, and only where something is accepted. Never rejects: where it cannot
 * be read, nothing is accepted.
 */
export async function measureAcceptance(ask: Ask): Promise<Map<string, Acceptance>> {
  const acceptance = new Map<string, Acceptance>();
  const [accepted] = (await read(ask, "accepted", acceptances)) ?? [];
  const askAbout = async (check: Check) => {
    if (!accepted || (accepted.until === null && !accepted.checks.includes(check.id))) return;
    const [row] = (await read(ask, check.id, acceptanceQuestion(check, accepted.until !== null))) ?? [];
    if (!row) return;
    const rows = Number(row.rows);
    const ends = [row.hasFirstDay ? accepted.until : null, row.until].filter((end) => end !== null).map(Number);
    acceptance.set(check.id, {
      rows,
      overdue: Number(row.overdue),
      oldestSeconds: oldestAmong(rows, row.oldest),
      untilSeconds: ends.length > 0 ? Math.min(...ends) : undefined,
    });
  };
  await Promise.all(checks.map(askAbout));
  return acceptance;
}

/** The series of the checks with acceptances: how many rows of each count are accepted, and the next end. */
export function acceptedSeries(outcomes: Outcome[], acceptance: Map<string, Acceptance>): Series[] {
  return outcomes.flatMap((outcome) => {
    const labels = { check: outcome.check.id };
    const known = acceptance.get(outcome.check.id);
    if (!known || "error" in outcome) return [];
    const { rows, untilSeconds } = known;
    const accepted = Math.max(0, outcome.count - rows); // Both are of one tick, and not of one instant.
    const until = untilSeconds === undefined ? [] : [series(acceptedUntilMetric, labels, untilSeconds)];
    return [series(acceptedMetric, labels, accepted), ...until];
  });
}
