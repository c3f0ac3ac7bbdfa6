import { type Check, checks, rowsOf, stateOf } from "./checks.ts";
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
  accepted: "veza_ledger_accepted_rows",
  oldestUnaccepted: "veza_ledger_oldest_unaccepted_timestamp_seconds",
  amount: "veza_ledger_amount_at_risk",
  outboxRows: "veza_ledger_outbox_rows",
  outboxOldest: "veza_ledger_outbox_oldest_timestamp_seconds",
} as const;
const { newest, outside, inserts, accepted, oldestUnaccepted, amount, outboxRows, outboxOldest } = evidenceMetric;

export const evidenceFamilies: Family[] = [
  family(
    "gauge",
    newest,
    "Unix time of the newest row in the state that the check watches, of any age; absent when there is no row.",
  ),
  family("gauge", outside, "Rows in that state that can never count: no_time, or over 5 minutes ahead of now."),
  family("counter", inserts, "Rows ever inserted, by Postgres' statistics."),
  family(
    "gauge",
    accepted,
    "Rows that the check counts and that a person has accepted until a day; absent where nobody has accepted any.",
  ),
  family(
    "gauge",
    oldestUnaccepted,
    "Unix time of the oldest row that the check counts and nobody has accepted, 0 for none; absent like accepted rows.",
  ),
  family("gauge", amount, "Money in the rows that the check counts, by the owner's view."),
  family("gauge", outboxRows, "Deliveries in the reconciler's outbox that are waiting or parked."),
  family("gauge", outboxOldest, "Unix time of the oldest waiting delivery; 0 when none is waiting."),
];

/** The optional relations that this session can read. The witness tells. */
export interface Optional {
  hasAmounts: boolean;
  hasAccepted: boolean;
  hasOutbox: boolean;
}

/** SQL: `values` of one series, with its name, labels and value. */
const seriesOf = (name: string, labels: object, value: string) =>
  `('${name}', '${JSON.stringify(labels)}'::jsonb, ${value}::numeric)`;

/** SQL: one row for each series. It reads what the count reads, once, and the rows that are not stale yet. */
function evidenceOf(check: Check): string {
  const { id, table, time, staleAfter } = check;
  const series = [
    seriesOf(newest, { check: id }, "newest"),
    ...(staleAfter
      ? [
          seriesOf(outside, { check: id, reason: "no_time" }, "no_time"),
          seriesOf(outside, { check: id, reason: "ahead" }, "ahead"),
        ]
      : []),
  ];
  return `
  select series.* from (
    select count(*) filter (where ${time} is null) as no_time,
      count(*) filter (where ${time} > now() + interval '5 minutes') as ahead,
      extract(epoch from (max(${time}) filter (where ${time} <= now() and isfinite(${time})))::timestamptz) as newest
    from ${table} where ${stateOf(check)}
  ) as seen, lateral (values ${series.join(", ")}) as series (name, labels, value)`;
}

/** SQL: the checks with accepted rows. */
const acceptedChecks = `select distinct "check" from ledger_metrics.accepted where until > now()`;

/** SQL: one row for each series, of the rows that the check counts. */
function acceptedOf(check: Check): string {
  const labels = { check: check.id };
  return `
  with accepted as materialized (
    select id from ledger_metrics.accepted where "check" = '${check.id}' and until > now()
  ),
  counted as (
    select ${check.time} as time, coalesce(id::text in (select id from accepted), false) as is_accepted ${rowsOf(check)}
  )
  select series.* from (
    select count(*) filter (where is_accepted) as accepted, count(*) filter (where not is_accepted) as open,
      extract(epoch from (min(time) filter (where not is_accepted and isfinite(time)))::timestamptz) as oldest
    from counted
  ) as seen, lateral (values
    ${seriesOf(accepted, labels, "accepted")},
    ${seriesOf(oldestUnaccepted, labels, "(case open when 0 then 0 else oldest end)")}
  ) as series (name, labels, value)`;
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
export async function readEvidence(ask: Ask, { hasAmounts, hasAccepted, hasOutbox }: Optional): Promise<Series[]> {
  const read = async (question: string) => {
    try {
      return await ask(question);
    } catch (error) {
      if (!isConnectionLost(error)) log("warn", "evidence not read", errorFields(error));
      return [];
    }
  };
  const measure = async (question: string) =>
    (await read(question)).flatMap(({ name, labels, value }) =>
      value === null ? [] : [{ name, labels, value: Number(value) }],
    );
  /** A second round trip, and only where something is accepted. */
  const measureAccepted = async () => {
    const ids = (await read(acceptedChecks)).map(({ check }) => check);
    const questions = checks.filter(({ id }) => ids.includes(id)).map(acceptedOf);
    return (await Promise.all(questions.map(measure))).flat();
  };
  const questions = [...checks.map(evidenceOf), insertsOfTables, hasAmounts && amounts, hasOutbox && outbox];
  const measured = questions.filter((question) => question !== false).map(measure);
  return (await Promise.all([...measured, ...(hasAccepted ? [measureAccepted()] : [])])).flat();
}
