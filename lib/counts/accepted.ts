import { type Family, family, type Series, series } from "../gateway/exposition.ts";
import { own } from "../postgres/own-names.ts";
import { type Ask, read } from "../postgres/question.ts";
import { type Check, checks, oldestOf, overdueOf, rowsOf } from "./checks.ts";
import { type Outcome, oldestAmong, type Waiting } from "./counting.ts";

// Rows that a check counts, and that a person has accepted until a day. A person accepts either one row, by its id, or
// a backlog: all rows from before a moment. The counts keep accepted rows, the alerts do not.

export const acceptedMetric = "veza_ledger_accepted_rows";
export const acceptedUntilMetric = "veza_ledger_accepted_until_timestamp_seconds";

export const acceptedFamilies: Family[] = [
  family("gauge", acceptedMetric, "Rows counted that a person has accepted."),
  family("gauge", acceptedUntilMetric, "Unix time until which a backlog is accepted; absent where it hides no row."),
];

/**
 * SQL: a check's rows that are accepted by their ids now. The newest acceptance of an id counts: it may end others.
 * Reads none that has ended: there may be thousands.
 */
export const acceptedIds = ({ id }: Check): string =>
  own(`
    select distinct on (id) * from ledger_metrics.accepted as given
    where "check" = '${id}' and until > now()
    and accepted_at = (
      select max(accepted_at) from ledger_metrics.accepted as same
      where same."check" = '${id}' and same.id = given.id
    )`);

/** SQL: a check's moment in force, in one row or none. The newest counts, as for an id. */
export const acceptedMoment = ({ id }: Check): string =>
  own(`
    select * from (
      select * from ledger_metrics.accepted
      where "check" = '${id}' and id is null
      order by accepted_at desc limit 1
    ) as newest where until > now()`);

/** SQL: all acceptances in force. */
export const inForce: string = `(${checks
  .flatMap((check) => [acceptedIds(check), acceptedMoment(check)])
  .map((accepted) => `select * from (${accepted}) as accepted`)
  .join(" union all ")})`;

/**
 * SQL: a condition: the check's moment does not accept the row. A moment accepts what had counted when it was written:
 * orders of its last minutes may get stuck later. A time that is missing, or before 1971, may be a new row's without a
 * time, so no moment accepts it.
 */
export const isAfterMoment = (check: Check, time: string = check.time): string =>
  own(`(${time} > (
    select coalesce(max(least(up_to, accepted_at - interval '${check.stuckAfter ?? "0 minutes"}')), '-infinity')
    from (${acceptedMoment(check)}
    ) as moment
  ) or ${time} < '1971-01-01' or ${time} is null)`);

/** SQL: what is accepted of each check: how many ids, until when a moment is, and the type of the ids in its table. */
const acceptedChecks = checks
  .map((check) =>
    own(`
  select '${check.id}' as "check", (select count(*) from (${acceptedIds(check)}) as ids) as ids,
    (select extract(epoch from until)::numeric from (${acceptedMoment(check)}) as moment) as until,
    (
      select atttypid::regtype::text from pg_attribute
      where attrelid = to_regclass('${check.table}')::oid and attname = 'id'
    ) as id_type`),
  )
  .join("\n  union all");

/**
 * How to compare accepted ids, which are texts, with ids of a type. The accepted ids are cast to that type: casting all
 * ids that a check counts to text would cost more than counting them. An accepted text that Postgres would write in
 * another way, such as `007`, is no id of that type, and accepts nothing.
 */
const bigint = `case when id ~ '^(0|-?[1-9][0-9]{0,18})$' then
      case when id::numeric between '-9223372036854775808' and '9223372036854775807' then id::bigint end end`;
const uuid = "case when id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then id::uuid end";
const byType: Record<string, { column: string; accepted: string }> = {
  smallint: { column: "id", accepted: bigint },
  integer: { column: "id", accepted: bigint },
  bigint: { column: "id", accepted: bigint },
  uuid: { column: "id", accepted: uuid },
};
const asText = { column: "id::text", accepted: "id" };

/**
 * SQL: what is known of the rows that nobody has accepted, and how many are accepted by their ids alone. Rows of an
 * accepted backlog are left out by their time. An id of several rows, as in a view of two tables, accepts none: it
 * would hide a row that nobody knows.
 */
function acceptanceQuestion(check: Check, { ids, moment, idType }: { ids: boolean; moment: boolean; idType: string }) {
  const isAfter = (time: string) => (moment ? isAfterMoment(check, time) : "true");
  const { column, accepted } = byType[idType] ?? asText;
  const once = `
  with once as materialized (
    select ${column} as id, min(${check.time}) as time ${rowsOf(check)}
      and ${column} = any (array(select ${accepted} from (${acceptedIds(check)}) as ids))
    group by 1 having count(*) = 1
  )`;
  // An array, unlike a table, may be read by parallel workers, as a count's own scan is.
  const others = ` and not exists (
    select from unnest(array(select id from once)) as known (id) where known.id = ${check.table}.${column}
  )`;
  return own(`${ids ? once : ""}
  select ${ids ? `(select count(*) from once where ${isAfter("time")})` : "0"} as by_id, count(*) as rows,
    ${overdueOf(check)} as overdue,
    ${oldestOf(check.time)} as oldest
  ${rowsOf(check)} and ${isAfter(check.time)}${ids ? others : ""}`);
}

/** Of a check with acceptances: what is known of the rows that nobody has accepted. */
export interface Acceptance extends Waiting {
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
export async function measureAcceptance(ask: Ask): Promise<Map<string, Acceptance>> {
  const acceptance = new Map<string, Acceptance>();
  const accepted = (await read(ask, "accepted", acceptedChecks)) ?? [];
  const askAbout = async (check: Check) => {
    const { ids, until = null, id_type } = accepted.find((row) => row.check === check.id) ?? {};
    if (!Number(ids) && until === null) return;
    const question = acceptanceQuestion(check, { ids: Number(ids) > 0, moment: until !== null, idType: id_type });
    const [row] = (await read(ask, check.id, question)) ?? [];
    if (!row) return;
    const rows = Number(row.rows);
    acceptance.set(check.id, {
      rows,
      byId: Number(row.by_id),
      overdue: Number(row.overdue),
      oldestSeconds: oldestAmong(rows, row.oldest),
      untilSeconds: until === null ? undefined : Number(until),
    });
  };
  await Promise.all(checks.map(askAbout));
  return acceptance;
}

/** The series of the checks with acceptances: how many rows of each count are accepted, and until when a backlog is. */
export function acceptedSeries(outcomes: Outcome[], acceptance: Map<string, Acceptance>): Series[] {
  return outcomes.flatMap((outcome) => {
    const labels = { check: outcome.check.id };
    const known = acceptance.get(outcome.check.id);
    if (!known || "error" in outcome) return [];
    const { rows, byId, untilSeconds } = known;
    const accepted = Math.max(0, outcome.count - rows); // Both are of one tick, and not of one instant.
    const until = accepted > byId && untilSeconds ? [series(acceptedUntilMetric, labels, untilSeconds)] : [];
    return [series(acceptedMetric, labels, accepted), ...until];
  });
}
