import { type Check, type CheckId, checks } from "../../lib/counts/checks.ts";

// What each check counts, said a second time, without SQL. Tests compare the statements with it, and make rows from it.

/** The ledger's tables, each with its column for the id at the provider, or undefined where it has none. */
export const providerIds = {
  orders: "hyperswitch_payment_id",
  refunds: "hyperswitch_refund_id",
  seller_transfers: undefined,
} as const;

export interface Model {
  table: keyof typeof providerIds;
  status: string;
  /** Whether a row has an id at the provider. Undefined in a table without such ids. */
  hasProviderId?: boolean;
  time: Check["time"];
  /** From when on a row counts. Undefined when it counts at any age. */
  stuckAfterMinutes?: number;
}

export const models: Record<CheckId, Model> = {
  stuck_orders: { table: "orders", status: "pending", hasProviderId: true, time: "created_at", stuckAfterMinutes: 30 },
  stuck_refunds: {
    table: "refunds",
    status: "pending",
    hasProviderId: true,
    time: "created_at",
    stuckAfterMinutes: 30,
  },
  failed_transfers: { table: "seller_transfers", status: "permanently_failed", time: "updated_at" },
  orphan_refunds: {
    table: "refunds",
    status: "pending",
    hasProviderId: false,
    time: "created_at",
    stuckAfterMinutes: 5,
  },
  pending_reversals: {
    table: "seller_transfers",
    status: "reversal_pending",
    time: "updated_at",
    stuckAfterMinutes: 30,
  },
};

/** The model of a check. */
export const modelOf = ({ id }: Pick<Check, "id">): Model => models[id];

/** An object with this value for each check, by its id. */
export function forEachCheck<T>(get: (check: Check, index: number) => T): Record<CheckId, T> {
  return Object.fromEntries(checks.map((check, index) => [check.id, get(check, index)])) as Record<CheckId, T>;
}

/** An object with this value for each check on a table; with `isAffected`, for each check that it says yes to. */
export function onTable<T>(
  table: string,
  value: T,
  isAffected: (model: Model) => boolean = () => true,
): Record<string, T> {
  const affected = checks.filter((check) => check.table === table && isAffected(modelOf(check)));
  return Object.fromEntries(affected.map(({ id }) => [id, value]));
}

/** Whether a check reads this time, and cannot count without it. */
export const needsTime = (time: Model["time"]) => (model: Model) =>
  model.time === time && model.stuckAfterMinutes !== undefined;

/** How a row differs from a row that a check counts. `age` is an interval: how long ago its time was. */
interface Change {
  age?: string;
  status?: string;
  hasProviderId?: boolean;
}

/**
 * SQL that inserts so many rows which a check counts and which are overdue, an hour past its threshold, or rows that
 * differ from them.
 */
export function insertRows(check: Pick<Check, "id">, count: number, change: Change = {}): string {
  const model = modelOf(check);
  const { overdueAfter = "0 minutes" } = checks.find(({ id }) => id === check.id) ?? {};
  const anHourPast = `${(model.stuckAfterMinutes ?? 0) + 60} minutes`;
  const { table, time, status, hasProviderId, age } = { ...model, ...change };
  const ago = age ? `interval '${age}'` : `greatest(interval '${anHourPast}', interval '${overdueAfter} 60 seconds')`;
  const values = [`'${status}'`, `now() - ${ago}`];
  const columns = ["status", time];
  if (providerIds[table]) {
    columns.push(providerIds[table]);
    values.push(hasProviderId ? "'id_1'" : "null");
  }
  return `insert into ${table} (${columns}) select ${values} from generate_series(1, ${count});`;
}
