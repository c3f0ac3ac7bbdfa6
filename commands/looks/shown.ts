import { deadline } from "../../lib/deadline.ts";
import { reconcilerMetric, seriesKey } from "../../lib/events.ts";
import { fetchFailure } from "../../lib/log.ts";
import { readGroup } from "../../lib/pushgateway.ts";
import { doubt, type Finding, orRemedy, type Scene, well, wrong } from "../look.ts";

const page = "docs/failover.md";

/**
 * Compares the gateway with the totals. A counter above its total is wrong, and a total ahead of what was recorded is a
 * doubt.
 */
export async function lookAtShown({ database: { sql }, settings }: Scene): Promise<Finding> {
  const { pushgateway, stage } = settings;
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
    return wrong(
      `events are lost: the gateway shows ${fall.name} ${fall.value}, and Postgres ${total} (${falls.length} such)`,
      `npm run restore-totals, then send again what is lost: ${page}`,
    );
  }
  const ahead = totals.filter((total) => total.ahead > 0);
  if (ahead[0]) {
    return doubt(
      `${ahead[0].name} is ${ahead[0].ahead} ahead of what was recorded (${ahead.length} such)`,
      `send again what was lost, or, after a correction, wait: the next events fill it up. ${page}`,
    );
  }
  if (shown.length > 0) return well("as the gateway shows them");
  const none = `the gateway shows none ${stage ? `of stage ${stage}` : "without a stage; is STAGE missing?"}`;
  return well(`not compared: ${unread || none}`);
}
