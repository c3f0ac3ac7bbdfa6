import type { Database } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { heldCounters, type Total } from "../lib/events.ts";
import { readGroup } from "../lib/pushgateway.ts";
import type { Settings } from "../lib/settings.ts";
import { lockKey, pushTimeoutMs } from "../lib/totals.ts";
import { orRemedy, Problem } from "./ledger-checkup.ts";

// What the doctor looks at around the totals: has Postgres kept what the gateway shows, and will it after a failover?

const page = "docs/lost-and-wrong-events.md";

/**
 * Compares the gateway with the totals. Throws a Problem when counters are held above their totals, or the gateway's
 * page does not come in time, and a doubt when totals are ahead of what was recorded.
 */
export async function compareTotals({ sql }: Database, { pushgateway, stage }: Settings): Promise<[true, string]> {
  const limit = deadline("the Pushgateway", pushTimeoutMs);
  const { shown, unread } = await orRemedy(
    readGroup(pushgateway, { job: "veza_reconciler", stage }, limit),
    `have the gateway show its page to this login within ${pushTimeoutMs} ms: until then no totals are published`,
  );
  // The totals are read after the gateway, so that they cannot be older than what it shows.
  const totals = await orRemedy(
    sql<(Total & { ahead: number })[]>`
      select name, labels, to_jsonb(value) as value, ahead::float8 from ledger_metrics.totals`,
    "npm run migrate",
  );
  const held = heldCounters(totals, shown);
  if (held[0]) {
    const { name, value, total } = held[0];
    throw new Problem(
      `events are lost: the gateway shows ${name} ${value}, and Postgres has ${total} (${held.length} such)`,
      `send again what was lost: ${page}. So that it outlasts the gateway, as veza_ledger_receiver:${raising(held)}`,
    );
  }
  const ahead = totals.filter((total) => total.ahead > 0);
  if (ahead[0]) {
    throw new Problem(
      `${ahead[0].name} is ${ahead[0].ahead} ahead of what was recorded (${ahead.length} such)`,
      `send again what was lost, or, after a correction, wait: the next events fill it up. ${page}`,
      true,
    );
  }
  if (shown.length > 0) return [true, "as the gateway shows them"];
  const none = `the gateway shows none ${stage ? `of stage ${stage}` : "without a stage; is STAGE missing?"}`;
  return [true, `not compared: ${unread || none}`];
}

/** SQL, one statement on one line: raises these totals to what is shown, ahead of what was recorded, under the lock. */
function raising(held: Total[]): string {
  const rows = held.map(({ name, labels, value }) => `('${name}', '${JSON.stringify(labels)}'::jsonb, ${value})`);
  return `
    with locked as materialized (select pg_advisory_xact_lock(${lockKey}))
    insert into ledger_metrics.totals as total (name, labels, value, ahead)
    select name, labels, value, value from locked, (values ${rows.join(", ")}) as shown (name, labels, value)
    order by name, labels on conflict (name, labels) do update set value = excluded.value,
      ahead = total.ahead + excluded.value - total.value where total.value < excluded.value;
  `.replaceAll(/\s+/g, " ");
}

/** Tells whether a failover can lose what was committed. All that a login without further rights can see of it. */
export async function lookAtStandby({ sql }: Database): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql`select count(*)::int as standbys, current_setting('synchronous_standby_names') as synchronous
      from pg_stat_replication`,
    "run it again",
  );
  if (!row?.standbys) return [true, "none is connected"];
  if (row.synchronous) return [true, `${row.standbys} connected, synchronous_standby_names is set`];
  throw new Problem(
    "asynchronous: a failover to it loses what was answered in the seconds before",
    `set synchronous_standby_names, or know the way back: ${page}`,
    true,
  );
}

/** Tells whether the Pushgateway keeps its groups in a file: killed, it starts with old totals, and counters fall. */
export async function lookAtPersistence({ pushgateway: { url, authorization } }: Settings): Promise<[true, string]> {
  const headers = authorization ? { authorization } : {};
  const answer = await fetch(`${url}/api/v1/status`, { headers, signal: AbortSignal.timeout(5_000) }).catch(
    () => undefined,
  );
  const status = (await answer?.json().catch(() => undefined)) as
    | { data?: { flags?: Record<string, string> } }
    | undefined;
  const flags = status?.data?.flags;
  if (!flags) return [true, "not a Pushgateway, or its status is not shown"];
  if (!flags["persistence.file"]) return [true, "in memory alone, as it should be"];
  throw new Problem(
    "the Pushgateway keeps a file: after a crash it shows old totals, and counters fall",
    "start it without --persistence.file: a tick fills it anyway",
  );
}
