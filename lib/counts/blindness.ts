import { type Family, family, type Series, series } from "../gateway/exposition.ts";
import type { Evidence, Measured } from "../postgres/question.ts";
import { type Check, checks, nearlyStuckAfter, stateOf } from "./checks.ts";
import type { Outcome } from "./counting.ts";
import { inSql } from "./interval.ts";

// Could the tick have seen a stuck row? A count of 0 proves nothing when no row is written where the check looks. And
// do webhooks arrive? The reconciler may repair each row whose webhook is lost before it is overdue.

export const blindnessMetric = {
  newest: "veza_ledger_newest_item_timestamp_seconds",
  outside: "veza_ledger_rows_outside",
  inserts: "veza_ledger_table_inserts_total",
  checkInserts: "veza_ledger_check_inserts",
  watches: "veza_ledger_check_watches",
  nearlyStuck: "veza_ledger_nearly_stuck_rows",
  evidenceSuccess: "veza_ledger_evidence_success",
} as const;
const { newest, outside, inserts, checkInserts, watches, nearlyStuck, evidenceSuccess } = blindnessMetric;

/** SQL: this time is over 5 minutes ahead of now: the reason `ahead` of a row that does not count. */
export const isAhead = (time: string): string => `${time} > now() + interval '5 minutes'`;

export const blindnessFamilies: Family[] = [
  family("gauge", newest, "Unix time of the newest row in the state that the check watches; absent without a row."),
  family("gauge", outside, "Rows in that state that do not count: no_time, or ahead of now by over 5 minutes."),
  family("counter", inserts, "Rows ever inserted, by Postgres' statistics."),
  family("gauge", checkInserts, "Rows ever inserted into the check's table, where its rows wait for a webhook."),
  family("gauge", watches, "1 when the check watches a row of the last 5 minutes, 0 when not; for the same checks."),
  family("gauge", nearlyStuck, "Rows in that state that count within 5 minutes; for the same checks."),
  family("gauge", evidenceSuccess, "1 when the evidence of a count was read, 0 when not; absent without a count."),
];

/**
 * SQL: a row of this time counts as stuck within 5 minutes. The average of an hour, times 12, is how many rows of that
 * hour grow so old.
 */
const isNearlyStuck = (time: string, stuckAfter: string) =>
  `${time} >= now() - ${inSql(stuckAfter)} and ${time} < now() - ${inSql(nearlyStuckAfter(stuckAfter))}`;

/** Reads the same index as the count, once, including the rows that are too young to count. */
function seenBy(check: Check): Evidence {
  const { id, table, time, stuckAfter, waitsForWebhook } = check;
  const reasons = stuckAfter ? ["no_time", "ahead"] : [];
  const nearly = waitsForWebhook && stuckAfter && `count(*) filter (where ${isNearlyStuck(time, stuckAfter)})`;
  return {
    of: id,
    question: `
  select count(*) filter (where ${time} is null) as no_time,
    count(*) filter (where ${isAhead(time)}) as ahead,
    extract(epoch from (max(${time}) filter (where ${time} <= now() and isfinite(${time})))::timestamptz)::numeric
      as newest,
    (coalesce(max(${time}) filter (where ${time} <= now()) > now() - interval '5 minutes', false))::int as watches,
    ${nearly ?? "null"} as nearly_stuck
  from ledger.${table} where ${stateOf(check)}`,
    seriesIn: (row) => [
      [newest, { check: id }, row.newest],
      [watches, { check: id }, waitsForWebhook && row.watches],
      [nearlyStuck, { check: id }, row.nearly_stuck],
      ...reasons.map((reason): Measured => [outside, { check: id, reason }, row[reason]]),
    ],
  };
}

const ofWebhooks = checks.filter(({ waitsForWebhook }) => waitsForWebhook);
const tableList = [...new Set(checks.map(({ table }) => `'${table}'`))].join(", ");

/**
 * For a view, inserts into the table below it; for a partitioned table, into its partitions. Absent for a view of
 * several tables, where rows that move into an archive are not new, and of none.
 *
 * `below` has the relation itself. If that is a view, it also has what the view reads (by its rule of ev_type 1), and
 * so on down to tables (relkind r, p).
 * `offset 0` keeps Postgres from reading whole catalogues, since there may be thousands of other tables.
 */
const insertsOfTables: Evidence = {
  of: "inserts",
  question: `
  with recursive below (given, oid) as (
    select given, to_regclass('ledger.' || given)::oid from unnest(array[${tableList}]) as given
    union
    select given, refobjid from below, lateral (
      select refobjid from pg_rewrite
      join pg_depend on classid = 'pg_rewrite'::regclass::oid and objid = pg_rewrite.oid
      where ev_class = below.oid and ev_type = '1' and refclassid = 'pg_class'::regclass::oid offset 0
    ) as of_view
  )
  select given as "table", sum(case relkind when 'r' then pg_stat_get_tuples_inserted(oid)
      else (select sum(pg_stat_get_tuples_inserted(relid::oid)) from pg_partition_tree(oid)) end) as inserts
  from below, lateral (
    select relkind from pg_class where pg_class.oid = below.oid offset 0
  ) as kind
  where relkind in ('r', 'p')
  group by given having count(*) = 1`,
  seriesIn: ({ table, inserts: value }) => [
    [inserts, { table }, value],
    ...ofWebhooks
      .filter((check) => check.table === table)
      .map(({ id }): Measured => [checkInserts, { check: id }, value]),
  ],
};

/** What tells a blind check, asked in the counts' round trip. */
export const blindness: Evidence[] = [...checks.map(seenBy), insertsOfTables];

/** The evidence without the nearly stuck rows of checks whose count failed: what spoils a count spoils them, too. */
export const believed = (evidence: Series[], outcomes: Outcome[]): Series[] =>
  evidence.filter(
    ({ name, labels }) =>
      name !== nearlyStuck || outcomes.some((outcome) => outcome.check.id === labels.check && !("error" in outcome)),
  );

/** The series that say, of each count, whether its evidence was read. `unread` is as in a Sample. */
export function evidenceSuccessSeries(outcomes: Outcome[], unread: string[]): Series[] {
  const isRead = (check: Check) => ![check.id, insertsOfTables.of].some((of) => unread.includes(of));
  const counted = outcomes.filter((outcome) => !("error" in outcome));
  return counted.map(({ check }) => series(evidenceSuccess, { check: check.id }, isRead(check) ? 1 : 0));
}
