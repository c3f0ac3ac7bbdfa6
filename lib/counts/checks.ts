import { mayHideRows } from "../postgres/row-security.ts";
import { type Interval, inSql, inWords, minutesIn } from "./interval.ts";

/** What a check counts. Where a table has other names, a view gives it these. */
interface Counted<Id extends string> {
  /** Value of the label `check`, and the check's name in logs. */
  id: Id;
  metric: string;
  /**
   * What it counts, without a full stop. The help of its metric begins with it. `{stuckAfter}` stands for the
   * threshold.
   */
  help: string;
  table: string;
  /** Column with the time since when a row waits. */
  time: "created_at" | "updated_at";
  /** Status of the rows that the check watches. */
  status: string;
  /** SQL: what else is true of these rows. It reads this table alone: a view can join another. */
  condition?: string;
  /** The columns that the condition reads. The roles get rights to them, and to no others. */
  columns?: readonly string[];
}

/** Without a threshold a row counts, and its alert fires, at any age. The count needs no time then. */
interface WithoutThreshold {
  stuckAfter?: never;
  patience?: never;
  waitsForWebhook?: never;
}

interface WithThreshold {
  /** Interval after which a row counts. */
  stuckAfter: Interval;
  /** For how long its alert waits from then on, for a row that nobody has accepted. */
  patience: Interval;
  /**
   * Whether rows are inserted in that state, and wait there for a webhook of the provider. Then too many old rows mean
   * that webhooks are lost. New rows of which none shows up in the state mean that the check is blind, as after a
   * status was renamed.
   */
  waitsForWebhook?: true;
}

/** A check as it is declared: the rules and all texts that programs write follow from its threshold. */
type Declared = Counted<string> & (WithoutThreshold | WithThreshold);

/**
 * One ledger check, as the function runs it. config/words-of-checks.ts has what people need of it; `npm run generate`
 * writes SQL, rules and the dashboard from both, and a test names the documents that lack something of it.
 */
export interface Check<Id extends string = CheckId> extends Counted<Id> {
  stuckAfter?: Interval;
  /** Interval after which its alert fires, for a row that nobody has accepted. Without it, at any age. */
  overdueAfter?: string;
  waitsForWebhook?: true;
}

/**
 * How often the reconciler sweeps, in minutes. The alerts about rows that it repairs wait for its sweeps, and
 * VezaLedgerReconcilerDead for two of them.
 */
export const sweepMinutes = 5;

/**
 * How long so many sweeps of the reconciler take, which come every `everyMinutes`. Throws if they come less often than
 * every 10 minutes.
 */
export function sweeps(count: number, everyMinutes: number = sweepMinutes): Interval {
  if (everyMinutes > 10) {
    throw new Error(
      `sweepMinutes is ${everyMinutes}, and may be 10 at most: the alerts about stuck rows wait for two sweeps, and ` +
        `would come ${2 * everyMinutes} minutes late. Have the reconciler sweep more often.`,
    );
  }
  return `${count * everyMinutes} minutes`;
}

/**
 * The checks. Their thresholds are constants on purpose, and not the reconciler's: it repairs, and these report to
 * people. An alert that fires while the reconciler is already at work is correct.
 */
const declared = [
  {
    id: "stuck_orders",
    metric: "veza_ledger_stuck_orders_pending",
    help: "Orders pending for over {stuckAfter} although the payment provider knows them",
    table: "orders",
    time: "created_at",
    status: "pending",
    waitsForWebhook: true,
    condition: "hyperswitch_payment_id <> ''",
    columns: ["hyperswitch_payment_id"],
    stuckAfter: "30 minutes",
    patience: sweeps(2),
  },
  {
    id: "stuck_refunds",
    metric: "veza_ledger_stuck_refunds_pending",
    help: "Refunds pending for over {stuckAfter} although the payment provider accepted them",
    table: "refunds",
    time: "created_at",
    status: "pending",
    waitsForWebhook: true,
    condition: "hyperswitch_refund_id <> ''",
    columns: ["hyperswitch_refund_id"],
    stuckAfter: "30 minutes",
    patience: sweeps(2),
  },
  {
    id: "failed_transfers",
    metric: "veza_ledger_failed_transfers_at_max_retry",
    help: "Seller transfers that the retry worker has given up on",
    table: "seller_transfers",
    time: "updated_at",
    status: "permanently_failed",
  },
  {
    id: "orphan_refunds",
    metric: "veza_ledger_orphan_refund_rows",
    help: "Refunds written over {stuckAfter} ago that never reached the payment provider",
    table: "refunds",
    time: "created_at",
    status: "pending",
    condition: "(hyperswitch_refund_id is null or hyperswitch_refund_id = '')",
    columns: ["hyperswitch_refund_id"],
    stuckAfter: "5 minutes",
    patience: sweeps(1),
  },
  {
    id: "pending_reversals",
    metric: "veza_ledger_reversal_pending_transfers",
    help: "Seller transfers whose reversal has been pending for over {stuckAfter}",
    table: "seller_transfers",
    time: "updated_at",
    status: "reversal_pending",
    stuckAfter: "30 minutes",
    patience: "10 minutes",
  },
] as const satisfies readonly Declared[];

export type CheckId = (typeof declared)[number]["id"];
/** The tables that they read. */
export type Table = (typeof declared)[number]["table"];
/** The checks with a condition of their own. */
export type ConditionalCheckId = Extract<(typeof declared)[number], { condition: string }>["id"];

export const checks: readonly Check[] = declared.map((check: Declared & { id: CheckId }) => {
  const { patience, ...rest } = check;
  if (!check.stuckAfter) return rest;
  const overdueAfter = inWords(minutesIn(check.stuckAfter) + minutesIn(patience));
  return { ...rest, help: check.help.replace("{stuckAfter}", check.stuckAfter), overdueAfter };
});

/** The interval after which a row is nearly stuck: it counts within 5 minutes. */
export const nearlyStuckAfter = (stuckAfter: string): string => inWords(minutesIn(stuckAfter) - 5);

/** SQL: the state that a check watches, whatever the age of a row. Its index has the same condition. */
export const stateOf = ({ status, condition }: Check): string =>
  `status = '${status}'${condition ? ` and ${condition}` : ""}`;

/** SQL: the Unix time in seconds of the oldest row with a finite time. */
export const oldestOf = (time: string): string =>
  `extract(epoch from (min(${time}) filter (where isfinite(${time})))::timestamptz)::numeric`;

/** SQL: whether a row that a check counts is overdue; null for a row without a time, which never is. */
export const isOverdue = ({ time, overdueAfter }: Check): string =>
  overdueAfter ? `${time} < now() - ${inSql(overdueAfter)}` : "true";

/** SQL: how many of the rows that a check counts are overdue. */
export const overdueOf = (check: Check): string => `count(*) filter (where ${isOverdue(check)})`;

/** SQL: the rows that a check counts, from the word `from` on. */
export function rowsOf(check: Check): string {
  const { table, time, stuckAfter } = check;
  const isStuck = stuckAfter ? ` and ${time} < now() - ${inSql(stuckAfter)}` : "";
  return `from ledger.${table}\nwhere ${stateOf(check)}${isStuck}`;
}

/**
 * SQL: a check's question, which yields one row: `count`, how many of these are `overdue`, and `oldest`, the Unix time
 * in seconds of the oldest row with a finite time. `time_type`, where the count needs the time, and `hides_rows`,
 * whether row-level security may hide rows, say whether the count can be trusted. Without the oldest row it reads only
 * columns that the count needs.
 *
 * Each check has its own statement: a combined one fails as a whole. The threshold is in the SQL. Without parameters
 * all fit in one round trip, through any pooler. bigint and numeric arrive as text, to the last digit. How many digits
 * a float shows depends on the database. A time without a zone is compared and converted in the same zone, the
 * session's.
 */
export function questionOf(check: Check, { withOldest }: { withOldest: boolean }): string {
  const { table, time, stuckAfter } = check;
  const columns = [
    "count(*)",
    `${overdueOf(check)} as overdue`,
    withOldest && `${oldestOf(time)} as oldest`,
    stuckAfter && `pg_typeof(min(${time})) as time_type`,
    mayHideRows(`ledger.${table}`),
  ];
  return `select ${columns.filter(Boolean).join(",\n  ")}\n${rowsOf(check)}`;
}
