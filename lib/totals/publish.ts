import type { Sql } from "postgres";
import { deadlineFor, withAnyOf } from "../deadline.ts";
import { keyOf, type Series } from "../gateway/exposition.ts";
import { isTransient, push, readGroup, reconcilerJob } from "../gateway/pushgateway.ts";
import { comparePushTimeoutMs, publishTimeoutMs } from "../limits.ts";
import { errorFields, log } from "../log.ts";
import type { Connections } from "../postgres/connections.ts";
import { type Database, withDeadline } from "../postgres/database.ts";
import { ownAnswer } from "../postgres/own-answer.ts";
import { beginPublishing, lockPublisher } from "../postgres/transaction.ts";
import { retryOnce } from "../retry.ts";
import type { Settings } from "../settings/settings.ts";
import { AnotherStage } from "./another-stage.ts";
import { exposeTotals, heldCounters } from "./totals.ts";

// One publishes and one waits for the lock. All others return: the one that waits reads the totals later, and so
// publishes what they have committed.
//
//     begin ── somebody waits for the lock ──▶ commit ──▶ false: that publisher takes these totals along
//       │
//       ▼
//     lock ──▶ read totals ──▶ read the gateway ──▶ push ──▶ commit ──▶ true
//       │           │                 │              │          │
//       2 s         └──── a fault ────┴──────────────┘          └── lost: was the lock kept until here?
//       │                         │                                   │
//       └─────────────────────────┴──────▶ rollback ◀─────────────────┘
//                                              │
//                                              └──▶ once more from `begin`, at once, on another connection if lost
//
// Under the lock, reading and pushing are one step: a push of older totals after newer totals would be a fall. A
// publisher that fails may still have pushed older totals. Its push arrives late, or its process was stopped and lost
// the session, and so the lock. Hence the second attempt: such a fall lasts round trips, not until the next tick.

type Gateway = Pick<Settings, "pushgateway" | "stage">;

/** SQL: the entries of pg_locks for it. */
const locks = `from pg_locks where relation = 'ledger_metrics.publisher'::regclass
    and database = (select oid from pg_database where datname = current_database())`;

const beginLocked = `${beginPublishing}
  do $$ begin
    if not exists (select ${locks} and not granted) then ${lockPublisher}; end if;
  end $$;\n`;

const readTotals = `
  select (select stage from ledger_metrics.stage) as stage,
    exists (select ${locks} and granted and pid = pg_backend_pid()) as "isLocked", (
    select coalesce(jsonb_agg(jsonb_build_object('name', name, 'labels', labels, 'value', value)), '[]')
    from ledger_metrics.totals
  ) as totals`;

interface Locked {
  isLocked: boolean;
  /** Whose totals these are; null before the first delivery. */
  stage: string | null;
  totals: Series[];
}

/**
 * Begins a transaction, takes the publishers' lock unless another publisher waits for it, and reads the totals after
 * that.
 */
export async function lockAndReadTotals(sql: Sql): Promise<Locked> {
  const [row] = await ownAnswer<Locked>(sql, beginLocked, readTotals);
  if (typeof row?.isLocked !== "boolean") throw new Error("Postgres did not say whether it has the lock");
  return row;
}

/**
 * Publishes the totals, including everything committed before this call. Resolves to true when this call has pushed,
 * and to false when it leaves that to a publisher that waits for the lock already, and so reads the totals later.
 *
 * Publishes once more at once after a failure, unless the gateway refuses or `publishDeadline` has aborted. Rejects as
 * the second attempt does: its lock_timeout has passed, the totals cannot be read, page and push fail or take over
 * 1.5 s, or the connection is lost. Always rejects on a replica, whose locks are its own, and for totals of another
 * stage, with AnotherStage.
 */
export function publishTotals(connections: Connections, to: Gateway, publishDeadline: AbortSignal): Promise<boolean> {
  const attempt = async (database: Database) => {
    const inTime = <T>(work: (sql: Sql) => PromiseLike<T>) => withDeadline(database, publishDeadline, work);
    try {
      const row = await inTime(lockAndReadTotals);
      const { stage: ours = "" } = to;
      if (row.stage !== null && row.stage !== ours) throw new AnotherStage(row.stage, ours);
      const signals = [publishDeadline, database.lost, deadlineFor("the Pushgateway", comparePushTimeoutMs)];
      const held = row.isLocked ? await withAnyOf(signals, (signal) => compareAndPush(to, row.totals, signal)) : [];
      // An answer proves that the connection, and so the lock, was kept until now.
      await inTime((sql) => ownAnswer(sql, "", "select; commit"));
      const by = held.map((counter) => [keyOf(counter), counter.value - counter.total]);
      if (held.length > 0) log("warn", "counters held", { by: Object.fromEntries(by) });
      return row.isLocked;
    } catch (error) {
      await inTime((sql) => sql.unsafe("rollback")).catch(() => {}); // Fails for the same reason, if at all.
      throw error;
    }
  };
  const mayHelp = (error: unknown) => isTransient(error) && !publishDeadline.aborted;
  return retryOnce(() => connections.use(attempt), mayHelp);
}

/**
 * Pushes no counter below what the gateway shows: increase() would count all of it again. What Postgres has lost is
 * held there until it was sent again. Resolves to these counters.
 */
async function compareAndPush({ pushgateway, stage }: Gateway, totals: Series[], signal: AbortSignal) {
  const group = { job: reconcilerJob, stage };
  const held = heldCounters(totals, (await readGroup(pushgateway, group, signal)).shown);
  await push(pushgateway, group, await exposeTotals(totals, held), signal);
  return held;
}

/**
 * Publishes the totals, as a tick and a delivery do at their end. Says whether this call has pushed. Never rejects: it
 * calls `onFailure` instead.
 */
export async function tryToPublish(connections: Connections, to: Gateway, onFailure = () => {}): Promise<boolean> {
  try {
    return await publishTotals(connections, to, deadlineFor("publishing the totals", publishTimeoutMs));
  } catch (error) {
    log("warn", "totals not published", errorFields(error));
    onFailure();
    return false;
  }
}
