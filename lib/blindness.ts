import { type Check, checks, stateOf } from "./checks.ts";
import { type Family, family, type Series } from "./exposition.ts";
import { type Ask, measure, sqlSeries } from "./question.ts";

// Could the tick have seen a stuck row? A count of 0 proves nothing when no row is written where the check looks.

export const blindnessMetric = {
  newest: "veza_ledger_newest_item_timestamp_seconds",
  outside: "veza_ledger_rows_outside",
  inserts: "veza_ledger_table_inserts_total",
} as const;
const { newest, outside, inserts } = blindnessMetric;

export const blindnessFamilies: Family[] = [
  family(
    "gauge",
    newest,
    "Unix time of the newest row in the state that the check watches, of any age; absent when there is no row.",
  ),
  family("gauge", outside, "Rows in that state that can never count: no_time, or over 5 minutes ahead of now."),
  family("counter", inserts, "Rows ever inserted, by Postgres' statistics."),
];

/** SQL: one row for each series. It reads what the count reads, once, and the rows that are not stale yet. */
function seenBy(check: Check): string {
  const { id, table, time, staleAfter } = check;
  const series = [
    sqlSeries(newest, { check: id }, "newest"),
    ...(staleAfter ? ["no_time", "ahead"] : []).map((reason) => sqlSeries(outside, { check: id, reason }, reason)),
  ];
  return `
  select series.* from (
    select count(*) filter (where ${time} is null) as no_time,
      count(*) filter (where ${time} > now() + interval '5 minutes') as ahead,
      extract(epoch from (max(${time}) filter (where ${time} <= now() and isfinite(${time})))::timestamptz) as newest
    from ${table} where ${stateOf(check)}
  ) as seen, lateral (values ${series.join(", ")}) as series (name, labels, value)`;
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

/** Asks, in the counts' round trip, what tells a blind check. Never rejects: what cannot be measured is absent. */
export const measureBlindness = (ask: Ask): Promise<Series[]> => measure(ask, [...checks.map(seenBy), insertsOfTables]);
