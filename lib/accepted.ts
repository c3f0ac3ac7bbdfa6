import { type Check, checks, oldestAmong, oldestOf, rowsOf } from "./checks.ts";
import { type Family, family, type Series } from "./exposition.ts";
import { type Ask, type Evidence, measure, read } from "./question.ts";

// Rows that a check counts, and that a person has accepted until a day. The counts keep them, the alerts do not.

export const acceptedMetric = {
  rows: "veza_ledger_accepted_rows",
  oldestUnaccepted: "veza_ledger_oldest_unaccepted_timestamp_seconds",
} as const;
const { rows, oldestUnaccepted } = acceptedMetric;

export const acceptedFamilies: Family[] = [
  family("gauge", rows, "Rows that the check counts and a person has accepted; absent where nothing is accepted."),
  family(
    "gauge",
    oldestUnaccepted,
    "Unix time of the oldest row that nobody has accepted, 0 for none; absent likewise.",
  ),
];

/** SQL: the checks with accepted rows. */
const acceptedChecks = `select distinct "check" from ledger_metrics.accepted where until > now()`;

/** Of the rows that the check counts. */
const acceptedOf = (check: Check): Evidence => ({
  of: check.id,
  question: `
  with accepted as materialized (
    select id from ledger_metrics.accepted where "check" = '${check.id}' and until > now()
  ),
  counted as (
    select ${check.time} as time, coalesce(id::text in (select id from accepted), false) as is_accepted ${rowsOf(check)}
  )
  select count(*) filter (where is_accepted) as accepted, count(*) filter (where not is_accepted) as open,
    ${oldestOf("time", "not is_accepted and ")} as oldest
  from counted`,
  seriesIn: ({ accepted, open, oldest }) => [
    [rows, { check: check.id }, accepted],
    [oldestUnaccepted, { check: check.id }, oldestAmong(Number(open), oldest)],
  ],
});

/**
 * Asks how many accepted rows each check counts, and for the oldest row that nobody has accepted. Takes a second round
 * trip, and only where something is accepted. Never rejects: what cannot be measured is absent.
 */
export async function measureAccepted(ask: Ask): Promise<Series[]> {
  const ids = (await read(ask, "accepted", acceptedChecks)).map(({ check }) => check);
  return await measure(ask, checks.filter(({ id }) => ids.includes(id)).map(acceptedOf));
}
