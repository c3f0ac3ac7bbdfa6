import { codeOf } from "./database.ts";
import { type Family, family, type Series, series } from "./exposition.ts";
import { countTimeoutMsAmong } from "./limits.ts";
import type { Ask } from "./question.ts";
import { mayHideRows, refuseHiddenRows } from "./row-security.ts";

/**
 * One ledger check, as the function runs it. config/checks.ts has what people need of it; `npm run generate` writes
 * indexes, grants, rules, the dashboard and rows of the docs from both.
 */
export interface Check<Id extends string = CheckId> {
  /** Value of the label `check`, and the check's name in logs. */
  id: Id;
  metric: string;
  /** What it counts, without a full stop. The help of its metric begins with it. */
  help: string;
  table: string;
  /** Column with the time since when a row waits. */
  time: string;
  /** Status of the rows that the check watches. */
  status: string;
  /**
   * How rows come into that state: they are inserted in it, or only ever updated to it. Where they are inserted, new
   * rows that never show up in the state tell that the check is blind, as after a status was renamed. Where the
   * reconciler repairs them, these inserts also tell how many late repairs are too many.
   */
  entersBy: "insert" | "update";
  /** SQL: what else is true of these rows. It reads this table alone: a view can join another. */
  condition?: string;
  /** The columns that the condition reads. The roles get rights to them, and to no others. */
  columns?: readonly string[];
  /** Interval after which a row counts. Without it a row counts at any age, and the count needs no time. */
  staleAfter?: string;
  /** Interval after which its alert fires, for a row that nobody has accepted. Without it, at any age. */
  overdueAfter?: string;
}

/**
 * The checks. Their thresholds are constants on purpose, and not the reconciler's: it repairs, and these report to
 * people. An alert that fires while the reconciler is already at work is correct.
 */
const declared = [
  {
    id: "stuck_orders",
    metric: "veza_ledger_stuck_orders_pending",
    help: "Orders pending for over 30 minutes although the payment provider knows them",
    table: "orders",
    time: "created_at",
    status: "pending",
    entersBy: "insert",
    condition: "hyperswitch_payment_id <> ''",
    columns: ["hyperswitch_payment_id"],
    staleAfter: "30 minutes",
    overdueAfter: "40 minutes",
  },
  {
    id: "stuck_refunds",
    metric: "veza_ledger_stuck_refunds_pending",
    help: "Refunds pending for over 30 minutes although the payment provider accepted them",
    table: "refunds",
    time: "created_at",
    status: "pending",
    entersBy: "insert",
    condition: "hyperswitch_refund_id <> ''",
    columns: ["hyperswitch_refund_id"],
    staleAfter: "30 minutes",
    overdueAfter: "40 minutes",
  },
  {
    id: "failed_transfers",
    metric: "veza_ledger_failed_transfers_at_max_retry",
    help: "Seller transfers that the retry worker has given up on",
    table: "seller_transfers",
    time: "updated_at",
    status: "permanently_failed",
    entersBy: "update",
  },
  {
    id: "orphan_refunds",
    metric: "veza_ledger_orphan_refund_rows",
    help: "Refunds written over 5 minutes ago that never reached the payment provider",
    table: "refunds",
    time: "created_at",
    status: "pending",
    entersBy: "insert",
    condition: "(hyperswitch_refund_id is null or hyperswitch_refund_id = '')",
    columns: ["hyperswitch_refund_id"],
    staleAfter: "5 minutes",
    overdueAfter: "10 minutes",
  },
  {
    id: "pending_reversals",
    metric: "veza_ledger_reversal_pending_transfers",
    help: "Seller transfers whose reversal has been pending for over 30 minutes",
    table: "seller_transfers",
    time: "updated_at",
    status: "reversal_pending",
    entersBy: "update",
    staleAfter: "30 minutes",
    overdueAfter: "40 minutes",
  },
] as const satisfies readonly Check<string>[];

export type CheckId = (typeof declared)[number]["id"];
export const checks: readonly Check[] = declared;

/** How long one count may take, and any other statement that reads the ledger: the more checks, the shorter. */
export const countTimeoutMs = countTimeoutMsAmong(checks.length);

export const overdueMetric = "veza_ledger_overdue_rows";
export const openAgeMetric = "veza_ledger_oldest_open_age_seconds";
export const oldestItemMetric = "veza_ledger_oldest_item_timestamp_seconds";
export const checkSuccessMetric = "veza_ledger_check_success";

/** The help of a check's metric, which says what -1 is. */
export const helpOf = ({ help }: Check): string => `${help}; -1 when the count failed.`;

/**
 * SQL: the state that a check watches, whatever the age of a row. Its index has the same condition. The operators are
 * Postgres' own: the ledger's schema may have others, which fit a varchar better.
 */
export function stateOf({ status, condition }: Check): string {
  const state = condition ? `status = '${status}' and ${condition}` : `status = '${status}'`;
  return state.replaceAll(/ (=|<>) /g, " operator(pg_catalog.$1) ");
}

/** SQL as people read it: without the schema of operators. */
export const plain = (sql: string): string => sql.replaceAll(/operator\(pg_catalog\.(=|<>)\)/g, "$1");

/** SQL: the Unix time in seconds of the oldest row with a finite time, among the rows of this condition. */
export const oldestOf = (time: string, condition = "true"): string =>
  `extract(epoch from (min(${time}) filter (where ${condition} and isfinite(${time})))::timestamptz)::numeric`;

/** SQL: how many of the rows that a check counts are overdue, among the rows of this condition. */
export const overdueOf = ({ time, overdueAfter }: Check, column = time, condition = "true"): string =>
  `count(*) filter (where ${condition}${overdueAfter ? ` and ${column} < now() - interval '${overdueAfter}'` : ""})`;

/** SQL: the rows that a check counts, from the word `from` on. */
export function rowsOf(check: Check): string {
  const { table, time, staleAfter } = check;
  const isStale = staleAfter ? ` and ${time} < now() - interval '${staleAfter}'` : "";
  return `from ${table}\nwhere ${stateOf(check)}${isStale}`;
}

/**
 * SQL: a check's question, which yields one row: `count`, how many of these are `overdue`, and `oldest`, the Unix time
 * in seconds of the oldest row with a finite time. `time_type`, where the count needs the time, and `hides_rows`,
 * whether row-level security may hide rows, say whether the count can be believed. Without the oldest row it reads only
 * columns that the count needs.
 *
 * Each check has its own statement: a combined one fails as a whole. The threshold is in the SQL. Without parameters
 * all fit in one round trip, through any pooler. bigint and numeric arrive as text, to the last digit. How many digits
 * a float shows depends on the database. A time without a zone is compared and converted in the same zone, the
 * session's.
 */
export function questionOf(check: Check, { withOldest }: { withOldest: boolean }): string {
  const { table, time, staleAfter } = check;
  const columns = [
    "count(*)",
    `${overdueOf(check)} as overdue`,
    withOldest && `${oldestOf(time)} as oldest`,
    staleAfter && `pg_catalog.pg_typeof(min(${time})) as time_type`,
    mayHideRows(table),
  ];
  return `select ${columns.filter(Boolean).join(",\n  ")}\n${rowsOf(check)}`;
}

/** Of some rows: how many are overdue, and the oldest row's time by `oldestAmong`. */
export interface Waiting {
  overdue: number;
  oldestSeconds: number | undefined;
}

/** A measured count, and what is known of its rows. */
type Count = Waiting & { count: number };

/** What became of one check: its count, or the reason for having none. */
export type Outcome = { check: Check } & (Count | { error: unknown });

/**
 * Runs the checks, pipelined on one connection: one round trip, and a second one for a check whose oldest row cannot be
 * had. Never rejects: a check that fails, or has no answer in time, yields its error and leaves the others alone.
 */
export function runChecks(ask: Ask, which = checks): Promise<Outcome[]> {
  const run = async (check: Check) => ({ check, ...(await runCheck(ask, check).catch((error) => ({ error }))) });
  return Promise.all(which.map(run));
}

/** SQLSTATE. */
const noSuchTable = "42P01";
const canceled = "57014";

/** What Postgres does not say about a failed count, by SQLSTATE. */
const hints: Record<string, string> = {
  [noSuchTable]: "is LEDGER_SCHEMA right?",
  [canceled]: `a count may take ${countTimeoutMs / 1000} s`,
};

async function runCheck(ask: Ask, check: Check): Promise<Count> {
  const count = async (withOldest: boolean) => countIn((await ask(questionOf(check, { withOldest })))[0]);
  try {
    return await count(true);
  } catch (error) {
    const code = codeOf(error);
    const hint = hints[code];
    if (hint) throw Object.assign(new Error(`${(error as Error).message}: ${hint}`), { code });
    // SQLSTATE class 42 or 22: the schema or a value does not suit the statement, and perhaps only its `oldest`.
    if (!/^(42|22)/.test(code)) throw error;
    return await count(false);
  }
}

/** Takes an answer for a count only when it is one, and when nothing in it says that it may be wrong. */
function countIn(row: Record<string, unknown> | undefined): Count {
  if (!row) throw new Error("the query returned no row");
  refuseHiddenRows(row);
  if (row.time_type === "date") throw new Error("the column is a date: it cannot tell minutes");
  const count = /^\d+$/.test(String(row.count)) ? Number(row.count) : Number.NaN;
  if (!Number.isSafeInteger(count)) throw new Error("the query returned no count");
  return { count, overdue: Number(row.overdue), oldestSeconds: oldestAmong(count, row.oldest) };
}

/**
 * The oldest row's Unix time in seconds: 0 when nothing was counted, undefined when unknown. At least 1, since software
 * may write the epoch, or the year 1, for "no time", and such a row is there.
 */
export function oldestAmong(count: number, oldest: unknown): number | undefined {
  if (count === 0) return 0;
  return typeof oldest === "string" ? Math.max(1, Number(oldest)) : undefined;
}

/** The age in seconds at a tick: 0 without a row, Infinity where the time of none is known. */
function ageOf(oldestSeconds: number | undefined, atSeconds: number): number {
  if (oldestSeconds === undefined) return Infinity;
  return oldestSeconds === 0 ? 0 : Math.max(1, atSeconds - oldestSeconds);
}

/**
 * The series of the checks, of a tick at `atSeconds`. Per check a count, -1 when unknown, and whether it succeeded.
 * Absent when unknown: the oldest row's timestamp, and for the alerts the overdue rows and an age. That age stands
 * still when the sampler dies: silence ages no row. `unaccepted` has the rows that nobody has accepted; by default,
 * all.
 */
export function seriesOf(outcomes: Outcome[], atSeconds: number, unaccepted = new Map<string, Waiting>()): Series[] {
  return outcomes.flatMap((outcome) => {
    const { id, metric } = outcome.check;
    const labels = { check: id };
    if ("error" in outcome) return [series(metric, {}, -1), series(checkSuccessMetric, labels, 0)];
    const { count, oldestSeconds } = outcome;
    const waiting = unaccepted.get(id) ?? outcome;
    return [
      series(metric, {}, count),
      series(checkSuccessMetric, labels, 1),
      series(overdueMetric, labels, waiting.overdue),
      series(openAgeMetric, labels, ageOf(waiting.oldestSeconds, atSeconds)),
      ...(oldestSeconds === undefined ? [] : [series(oldestItemMetric, labels, oldestSeconds)]),
    ];
  });
}

export const checkFamilies: Family[] = [
  ...checks.map((check) => family("gauge", check.metric, helpOf(check))),
  family("gauge", overdueMetric, "Rows that wait too long and that nobody has accepted; absent if unknown."),
  family("gauge", openAgeMetric, "Age at the tick of the oldest row that nobody has accepted; 0 for none."),
  family("gauge", oldestItemMetric, "Unix time of the oldest row it counted; 0 for none, absent if unknown."),
  family("gauge", checkSuccessMetric, "1 when the check has a count, 0 when the count failed and is -1."),
];
