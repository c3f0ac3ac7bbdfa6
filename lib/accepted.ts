import { type Check, checks, oldestAmong, oldestOf, overdueOf, rowsOf, type Waiting } from "./checks.ts";
import { type Family, family, type Series, series } from "./exposition.ts";
import { type Ask, read } from "./question.ts";

// Rows that a check counts, and that a person has accepted until a day. The counts keep them, the alerts do not.

export const acceptedMetric = "veza_ledger_accepted_rows";

export const acceptedFamily: Family = family("gauge", acceptedMetric, "Rows counted that a person has accepted.");

/** SQL: the checks with accepted rows. */
const acceptedChecks = `select distinct "check" from ledger_metrics.accepted where until > now()`;

/**
 * SQL: of the rows that the check counts, how many are accepted, and what is known of the others. An id of several
 * rows, as in a view of two tables, accepts none: it would hide a row that nobody knows.
 */
const questionOf = (check: Check): string => `
  with accepted as materialized (
    select id from ledger_metrics.accepted where "check" = '${check.id}' and until > now()
  ),
  counted as (
    select ${check.time} as time, coalesce(id::text in (select id from accepted), false)
      and count(*) over (partition by id::text) = 1 as is_accepted
    ${rowsOf(check)}
  )
  select count(*) filter (where is_accepted) as accepted, count(*) filter (where not is_accepted) as open,
    ${overdueOf(check, "time", "not is_accepted")} as overdue,
    ${oldestOf("time", "not is_accepted and ")} as oldest
  from counted`;

/** How many rows are accepted, and what is known of all others that count, by the ids of checks with accepted rows. */
export interface Accepted {
  evidence: Series[];
  open: Map<string, Waiting>;
}

/**
 * Asks about the checks with accepted rows. Takes a second round trip, and only where something is accepted. Never
 * rejects: where it cannot be read, nothing is accepted.
 */
export async function measureAccepted(ask: Ask): Promise<Accepted> {
  const accepted: Accepted = { evidence: [], open: new Map() };
  const ids = (await read(ask, "accepted", acceptedChecks))?.map(({ check }) => check) ?? [];
  const askAbout = async (check: Check) => {
    const [row] = (await read(ask, check.id, questionOf(check))) ?? [];
    if (!row) return;
    accepted.evidence.push(series(acceptedMetric, { check: check.id }, Number(row.accepted)));
    const oldestSeconds = oldestAmong(Number(row.open), row.oldest);
    accepted.open.set(check.id, { overdue: Number(row.overdue), oldestSeconds });
  };
  await Promise.all(checks.filter(({ id }) => ids.includes(id)).map(askAbout));
  return accepted;
}
