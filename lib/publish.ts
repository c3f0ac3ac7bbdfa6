import type { Connections } from "./connections.ts";
import { type Database, withDeadline } from "./database.ts";
import { deadline, withAnyOf } from "./deadline.ts";
import { keyOf, type Series } from "./exposition.ts";
import { comparePushTimeoutMs, publishTimeoutMs } from "./limits.ts";
import { errorFields, log } from "./log.ts";
import { isTransient, push, readGroup } from "./pushgateway.ts";
import { retryOnce } from "./retry.ts";
import type { Settings } from "./settings.ts";
import { exposeTotals, heldCounters } from "./totals.ts";

type Gateway = Pick<Settings, "pushgateway" | "stage">;

/** Takes the publishers' lock: on an empty table, which only publishers may update, and so lock. */
export const lockPublisher = "lock table ledger_metrics.publisher in exclusive mode";

/**
 * Takes no lock while another publisher waits for it; VACUUM waits in another mode. The second result has a row if the
 * lock was taken: `do` has no result. The totals are read after that, and as JSON: a role's extra_float_digits could
 * round a float8, and its counter would be held.
 */
export const lockAndReadTotals = `
  begin isolation level read committed read write;
  do $$ begin
    if not exists (select from pg_locks where relation = 'ledger_metrics.publisher'::regclass and not granted
      and mode = 'ExclusiveLock' and database = (select oid from pg_database where datname = current_database()))
    then ${lockPublisher}; set local ledger_metrics.publishes = on; end if;
  end $$;
  select where current_setting('ledger_metrics.publishes', true) = 'on';
  select name, labels, to_jsonb(value) as value from ledger_metrics.totals`;

/**
 * Publishes the totals, including everything committed before this call. Resolves to true when this call has pushed,
 * and to false when it leaves that to a publisher that waits for the lock already, and so reads the totals later.
 *
 * The lock lets one publisher at a time read and push. A push of older totals after newer totals would be a fall.
 * A publisher that fails may still have pushed older totals: its push arrives late, or its process was stopped and lost
 * the session, and so the lock. So it publishes once more at once, unless the gateway refuses or `publishDeadline` has
 * aborted. Rejects as the second attempt does: the role's lock_timeout has passed, the totals cannot be read, page and
 * push fail or take over 1.5 s, or the connection is lost. Always rejects on a replica: its locks are its own.
 */
export function publishTotals(connections: Connections, to: Gateway, publishDeadline: AbortSignal): Promise<boolean> {
  const attempt = async (database: Database) => {
    const ask = (statements: string) => withDeadline(database, publishDeadline, (sql) => sql.unsafe(statements));
    try {
      const [, lock, totals] = (await ask(lockAndReadTotals)) as unknown as [unknown, unknown[], Series[]];
      const isLocked = lock.length > 0;
      const signals = [publishDeadline, database.lost, deadline("the Pushgateway", comparePushTimeoutMs)];
      const held = isLocked ? await withAnyOf(signals, (signal) => compareAndPush(to, totals, signal)) : [];
      await ask("commit"); // An answer proves that the connection, and so the lock, was kept until now.
      const by = held.map((counter) => [keyOf(counter), counter.value - counter.total]);
      if (held.length > 0) log("warn", "counters held", { by: Object.fromEntries(by) });
      return isLocked;
    } catch (error) {
      await ask("rollback").catch(() => {}); // Fails for the same reason, if at all.
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
  const group = { job: "veza_reconciler", stage };
  const held = heldCounters(totals, (await readGroup(pushgateway, group, signal)).shown);
  await push(pushgateway, group, await exposeTotals(totals, held), signal);
  return held;
}

/** Publishes the totals, as a tick and a delivery do at their end. Says whether this call has pushed. Never rejects. */
export async function tryToPublish(connections: Connections, to: Gateway): Promise<boolean> {
  try {
    return await publishTotals(connections, to, deadline("publishing the totals", publishTimeoutMs));
  } catch (error) {
    log("warn", "totals not published", errorFields(error));
    return false;
  }
}
