import type { Database } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { reconcilerMetric, seriesKey } from "../lib/events.ts";
import { fetchFailure } from "../lib/log.ts";
import { readGroup } from "../lib/pushgateway.ts";
import type { Settings } from "../lib/settings.ts";
import { orRemedy, Problem } from "./ledger-checkup.ts";

// What the doctor looks at around the totals: has Postgres kept what the gateway shows, and will it after a failover?

const page = "docs/failover.md";

/**
 * Compares the gateway with the totals. Throws a Problem when the gateway shows a counter above its total, and a doubt
 * when totals are ahead of what was recorded.
 */
export async function compareTotals({ sql }: Database, { pushgateway, stage }: Settings): Promise<[true, string]> {
  const group = { job: "veza_reconciler", stage };
  let unread = "";
  const shown = await readGroup(pushgateway, group, deadline("the Pushgateway", 5_000)).catch((error) => {
    unread = `the gateway cannot be read: ${fetchFailure(error)}`;
    return [];
  });
  // The totals are read after the gateway, so that they cannot be older than what it shows.
  const totals = await orRemedy(
    sql<{ name: string; labels: Record<string, string>; value: number; ahead: number }[]>`
      select name, labels, value::float8, ahead::float8 from ledger_metrics.totals`,
    "npm run migrate",
  );
  const totalOf = new Map(totals.map(({ name, labels, value }) => [seriesKey(name, labels), value]));
  const falls = shown.filter(
    ({ name, labels, value }) =>
      name !== reconcilerMetric.lastRun && value > (totalOf.get(seriesKey(name, labels)) ?? 0),
  );
  const [fall] = falls;
  if (fall) {
    const total = totalOf.get(seriesKey(fall.name, fall.labels)) ?? 0;
    throw new Problem(
      `events are lost: the gateway shows ${fall.name} ${fall.value}, and Postgres ${total} (${falls.length} such)`,
      `npm run restore-totals, then send again what is lost: ${page}`,
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
