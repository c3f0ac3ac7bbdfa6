import { tables } from "../../commands/declared-rights.ts";
import { type Check, type CheckId, type ConditionalCheckId, checks, type Table } from "../../lib/counts/checks.ts";
import { inWords, minutesIn } from "../../lib/counts/interval.ts";

// What each check counts, without SQL: tests compare the statements with it, and make rows from it.

/** What the condition of a check demands: whether a row has an id at the provider. */
const hasProviderId: Record<ConditionalCheckId, boolean> = {
  stuck_orders: true,
  stuck_refunds: true,
  orphan_refunds: false,
};

/** The ledger's tables, each with its column for the id at the provider, or undefined where no check reads one. */
export const providerIds = Object.fromEntries(
  tables.map((table) => [table, checks.find((check) => check.table === table && check.columns)?.columns?.[0]]),
) as Record<Table, string | undefined>;

export type Model = ReturnType<typeof modelOf>;

/**
 * The model of a check: `stuckAfterMinutes` is undefined when a row counts at any age, and `hasProviderId` when it is
 * not asked.
 */
export function modelOf({ id }: Pick<Check, "id">) {
  const check = checks.find((each) => each.id === id);
  if (!check) throw new Error(`there is no check ${id}`);
  const { table, status, time, stuckAfter, overdueAfter } = check;
  return {
    table: table as Table,
    status,
    time,
    hasProviderId: (hasProviderId as Partial<Record<CheckId, boolean>>)[id],
    stuckAfterMinutes: stuckAfter && minutesIn(stuckAfter),
    /** 0: at any age. */
    overdueAfterMinutes: minutesIn(overdueAfter),
  };
}

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

/** The age of a row that a check has counted for a minute, or that has been overdue for one. */
export function justPast(of: "stuckAfter" | "overdueAfter", id: CheckId): string {
  return inWords(minutesIn(checks.find((check) => check.id === id)?.[of]) + 1);
}

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
  const minutes = Math.max((model.stuckAfterMinutes ?? 0) + 60, model.overdueAfterMinutes + 1);
  const { table, time, status, hasProviderId, age = `${minutes} minutes` } = { ...model, ...change };
  const values = [`'${status}'`, `now() - interval '${age}'`];
  const columns = ["status", time];
  const providerId = providerIds[table];
  if (providerId) {
    columns.push(providerId);
    values.push(hasProviderId ? "'id_1'" : "null");
  }
  return `insert into ${table} (${columns}) select ${values} from generate_series(1, ${count});`;
}
