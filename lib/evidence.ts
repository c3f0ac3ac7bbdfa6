import { type Check, checks, stateOf } from "./checks.ts";
import { isConnectionLost } from "./database.ts";
import { type Family, family, type Series } from "./exposition.ts";
import { errorFields, log } from "./log.ts";
import type { Ask } from "./question.ts";

// Evidence is measured beside the counts, in the same round trip: could the tick have seen a stuck row, and what do the
// optional tables say? It never makes a count fail.

export const evidenceMetric = {
  newest: "veza_ledger_newest_item_timestamp_seconds",
  outside: "veza_ledger_rows_outside",
  inserts: "veza_ledger_table_inserts_total",
  amount: "veza_ledger_amount_at_risk",
  outboxRows: "veza_ledger_outbox_rows",
  outboxOldest: "veza_ledger_outbox_oldest_timestamp_seconds",
} as const;
const { newest, outside, inserts, amount, outboxRows, outboxOldest } = evidenceMetric;

export const evidenceFamilies: Family[] = [
  family(
    "gauge",
    newest,
    "Unix time of the newest row in the state that the check watches, of any age; absent when there is no row.",
  ),
  family("gauge", outside, "Rows in that state that can never count: no_time, or over 5 minutes ahead of now."),
  family("counter", inserts, "Rows ever inserted, by Postgres' statistics."),
  family("gauge", amount, "Money in the rows that the check counts, by the owner's view."),
  family("gauge", outboxRows, "Deliveries in the reconciler's outbox that are waiting or parked."),
  family("gauge", outboxOldest, "Unix time of the oldest waiting delivery; 0 when none is waiting."),
];

/** The optional relations that this session can read. The witness tells. */
export interface Optional {
  hasAmounts: boolean;
  hasOutbox: boolean;
}

/** SQL: one row for each series, with its name, labels and value. From the check's index it reads a few pages. */
function evidenceOf(check: Check): string {
  const { id, table, time, staleAfter } = check;
  const rows = `from ${table} where ${stateOf(check)} and ${time}`;
  const series = (name: string, labels: object, value: string) =>
    `select '${name}' as name, '${JSON.stringify({ check: id, ...labels })}'::jsonb as labels,
      (${value})::numeric as value`;
  return [
    series(newest, {}, `select extract(epoch from max(${time})::timestamptz) ${rows} <= now() and isfinite(${time})`),
    ...(staleAfter
      ? [
          series(outside, { reason: "no_time" }, `select count(*) ${rows} is null`),
          series(outside, { reason: "ahead" }, `select count(*) ${rows} > now() + interval '5 minutes'`),
        ]
      : []),
  ].join("\nunion all ");
}

const tables = [...new Set(checks.map(({ table }) => `'${table}'`))].join(", ");
/** SQL: `below (oid)` of a `with recursive` has these relations, and the tables below a view or a partitioned table. */
export const below = (relations: string) => `below (oid) as (
    ${relations}
    union
    select next.oid from below, lateral (
      select refobjid from pg_rewrite join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
      where ev_class = below.oid and refclassid = 'pg_class'::regclass
      union all
      select inhrelid from pg_inherits where inhparent = below.oid
    ) as next (oid)
  )`;

/**
 * For a view, inserts into the table below it. Absent where Postgres counts none, and for a view of several tables:
 * rows that move into an archive are not new. Asks for these tables alone, since there may be thousands of others.
 */
const insertsOfTables = `
  select '${inserts}' as name, jsonb_build_object('table', given) as labels,
    sum(pg_stat_get_tuples_inserted(oid)) as value
  from unnest(array[${tables}]) as given, lateral (
    with recursive ${below("select to_regclass(given)::oid")}, part as materialized (
      select oid, (select relispartition from pg_class where pg_class.oid = below.oid and relkind in ('r', 'p'))
      from below
    ) select oid, relispartition from part
  ) as parts
  where current_setting('track_counts')::boolean and relispartition is not null
  group by given having count(*) filter (where not relispartition) = 1`;

const amounts = `
  select '${amount}' as name, jsonb_build_object('check', "check", 'currency', currency) as labels, sum(amount) as value
  from ledger_metrics.amounts_at_risk group by "check", currency`;

const outbox = `
  select '${outboxRows}' as name, '{"state": "parked"}'::jsonb as labels, count(*)::numeric as value
  from ledger_metrics_outbox where parked_at is not null
  union all select '${outboxRows}', '{"state": "waiting"}', count(*)
  from ledger_metrics_outbox where parked_at is null and sent_at is null
  union all select '${outboxOldest}', '{}', coalesce(extract(epoch from min(created_at)), 0)
  from ledger_metrics_outbox where parked_at is null and sent_at is null`;

/** Asks for all evidence, pipelined. Never rejects: what cannot be measured is absent, with a warning in the log. */
export async function readEvidence(ask: Ask, { hasAmounts, hasOutbox }: Optional): Promise<Series[]> {
  const questions = [...checks.map(evidenceOf), insertsOfTables, hasAmounts && amounts, hasOutbox && outbox];
  const read = async (question: string) => {
    try {
      return (await ask(question)).flatMap(({ name, labels, value }) =>
        value === null ? [] : [{ name, labels, value: Number(value) }],
      );
    } catch (error) {
      if (!isConnectionLost(error)) log("warn", "evidence not read", errorFields(error));
      return [];
    }
  };
  return (await Promise.all(questions.filter((question) => question !== false).map(read))).flat();
}
