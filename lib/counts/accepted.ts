import type { Row } from "postgres";
import { type Family, family, type Series, series } from "../gateway/exposition.ts";
import { codeOf } from "../postgres/database.ts";
import { type Ask, logUnread } from "../postgres/question.ts";
import { type Check, checks, oldestOf, overdueOf, rowsOf } from "./checks.ts";
import { type Open, type OpenByCheck, type Outcome, oldestAmong, type Waiting } from "./counting.ts";
import { inSql } from "./interval.ts";

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

/** SQL: what people have accepted of a check, from the relation on. */
const acceptedOf = ({ id }: Check): string => `ledger_metrics.accepted_now where "check" = '${id}'`;

/** SQL: a condition: the check counted the row when the first day began, and the first day is not over. */
export const isOfFirstDay = ({ time, stuckAfter }: Check): string =>
  `${time} <= (select began_at - ${inSql(stuckAfter)} from ledger_metrics.first_day where until > now())`;

/**
 * Whether an acceptance of a row is over once the row has changed: its time says when it was last changed, and what
 * came then, such as another failure, nobody has accepted.
 */
export const endsWithChange = ({ time }: Check): boolean => time === "updated_at";

/**
 * SQL: a condition, null without an acceptance: the row has not changed since it was accepted. A time that is missing,
 * or still to come, tells of no change.
 */
export const isUnchangedSince = (acceptedAt: string, time: string): string =>
  `${acceptedAt} >= coalesce(case when ${time} <= now() then ${time} end, '-infinity')`;

/**
 * SQL: a condition: a person has accepted the row; `accepted` is where it finds that. The planner knows too little of a
 * new table for a join. So the ids are hashed, or one value has the times of all, however many they are.
 */
function isAcceptedById(check: Check, accepted: string): string {
  if (!endsWithChange(check)) return `id::text in (select id from ${accepted})`;
  const acceptedAt = `((select jsonb_object_agg(id, accepted_at) from ${accepted}) ->> id::text)::timestamptz`;
  return isUnchangedSince(acceptedAt, check.time);
}

/** SQL: a condition, never null: the row is accepted. `in` inside of coalesce() is no join to the planner. */
export const isAccepted = (check: Check, accepted = acceptedOf(check)): string =>
  `coalesce(${isOfFirstDay(check)} or ${isAcceptedById(check, accepted)}, false)`;

/** SQL: which checks have accepted ids, and when the first day ends, if it is not over. */
const acceptances = `
  select array(select distinct "check" from ledger_metrics.accepted_now) as checks,
    (select extract(epoch from until)::numeric from ledger_metrics.first_day where until > now()) as until`;

/**
 * SQL: what is known of the rows that are not accepted; whether the first day accepts any; and when the next long
 * acceptance of a row that counts ends.
 */
function acceptanceQuestion(check: Check, isFirstDay: boolean): string {
  const isHidden = endsWithChange(check) ? ` and ${isAcceptedById(check, "accepted")}` : "";
  return `
  with accepted as materialized (
    select id, until, accepted_at from ${acceptedOf(check)}
  )
  select count(*) as rows, ${overdueOf(check)} as overdue, ${oldestOf(check.time)} as oldest,
    ${isFirstDay ? `exists (select ${rowsOf(check)} and ${isOfFirstDay(check)})` : "false"} as "hasFirstDay",
    (select extract(epoch from min(until))::numeric from accepted where until > accepted_at + interval '${longAfter}'
      and coalesce(id in (select id::text ${rowsOf(check)}${isHidden}), false)) as until
  ${rowsOf(check)} and not ${isAccepted(check, "accepted")}`;
}

/** Of a check with acceptances: what is known of its open rows. */
export interface OpenRows extends Waiting {
  rows: number;
  /** The next end of the first day or of a long acceptance, in Unix seconds. Undefined where these hide no row. */
  untilSeconds: number | undefined;
}

/**
 * Asks about the checks with acceptances, and resolves to what is known of the open rows of each check. Takes a second
 * round trip, and only where something is accepted. Never rejects. What Postgres cannot read because of its form, such
 * as in a ledger without a column `id`, is not accepted.
 */
export async function measureOpenRows(ask: Ask): Promise<OpenByCheck<OpenRows>> {
  const accepted = await rowOf(ask, "accepted", acceptances);
  const openOf = async (check: Check): Promise<Open<OpenRows>> => {
    if (typeof accepted === "string") return accepted;
    if (accepted.until === null && !accepted.checks.includes(check.id)) return "all";
    const row = await rowOf(ask, check.id, acceptanceQuestion(check, accepted.until !== null));
    if (typeof row === "string") return row;
    const rows = Number(row.rows);
    const ends = [row.hasFirstDay ? accepted.until : null, row.until].filter((end) => end !== null).map(Number);
    return {
      rows,
      overdue: Number(row.overdue),
      oldestSeconds: oldestAmong(rows, row.oldest),
      untilSeconds: ends.length > 0 ? Math.min(...ends) : undefined,
    };
  };
  const open = await Promise.all(checks.map(async (check) => [check.id, await openOf(check)]));
  return Object.fromEntries(open);
}

/** The one row of an answer. Without an answer: "unknown", or "all" where there can be none (SQLSTATE class 42). */
async function rowOf(ask: Ask, of: string, question: string): Promise<Row | "all" | "unknown"> {
  try {
    const [row] = await ask(question);
    return row ?? "unknown";
  } catch (error) {
    logUnread(of, error);
    return codeOf(error).startsWith("42") ? "all" : "unknown";
  }
}

/** The series of the checks with acceptances: how many rows of each count are accepted, and the next end. */
export function acceptedSeries(outcomes: Outcome[], open: OpenByCheck<OpenRows>): Series[] {
  return outcomes.flatMap((outcome) => {
    const labels = { check: outcome.check.id };
    const known = open[outcome.check.id];
    if (typeof known === "string" || "error" in outcome) return [];
    const { rows, untilSeconds } = known;
    const accepted = Math.max(0, outcome.count - rows); // Both are of one tick, and not of one instant.
    const until = untilSeconds === undefined ? [] : [series(acceptedUntilMetric, labels, untilSeconds)];
    return [series(acceptedMetric, labels, accepted), ...until];
  });
}
