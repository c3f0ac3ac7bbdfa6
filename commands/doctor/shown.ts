import { deadline } from "../../lib/deadline.ts";
import type { Series } from "../../lib/exposition.ts";
import { comparePushTimeoutMs } from "../../lib/limits.ts";
import { lockPublisher } from "../../lib/publish.ts";
import { readGroup } from "../../lib/pushgateway.ts";
import { heldCounters } from "../../lib/totals.ts";
import { doubt, type Finding, orRemedy, well, wrong } from "../finding.ts";
import { sqlText } from "../quote.ts";
import type { Scene, Session } from "./look.ts";

const page = "docs/lost-and-wrong-events.md";

/**
 * Compares the gateway with the totals. It is wrong when counters are held above their totals, or the gateway's page
 * does not come in time. A total ahead of what was recorded is a doubt.
 */
export async function lookAtShown({
  database: { sql },
  settings: { pushgateway, stage },
}: Scene & Session): Promise<Finding> {
  const limit = deadline("the Pushgateway", comparePushTimeoutMs);
  const { shown, unread } = await orRemedy(
    readGroup(pushgateway, { job: "veza_reconciler", stage }, limit),
    `have the gateway show /metrics within ${comparePushTimeoutMs} ms, or no totals are published`,
  );
  // The totals are read after the gateway, so that they cannot be older than what it shows.
  const totals = await orRemedy(
    sql<(Series & { ahead: number })[]>`
      select name, labels, to_jsonb(value) as value, ahead::float8 from ledger_metrics.totals`,
    "npm run migrate",
  );
  const held = heldCounters(totals, shown);
  if (held[0]) {
    const { name, value, total } = held[0];
    return wrong(
      `events are lost: the gateway shows ${name} ${value}, and Postgres has ${total} (${held.length} such)`,
      "totals that are not below the gateway's",
      `send again what was lost: ${page}. Or first, so that it outlasts the gateway:`,
      { as: "veza_ledger_receiver", sql: raising(held) },
    );
  }
  const ahead = totals.filter((total) => total.ahead > 0);
  if (ahead[0]) {
    return doubt(
      `${ahead[0].name} is ${ahead[0].ahead} ahead of what was recorded (${ahead.length} such)`,
      "0 ahead",
      `send again what was lost, or, after a correction, wait: the next events fill it up. ${page}`,
    );
  }
  if (shown.length > 0) return well("as the gateway shows them");
  const none = `the gateway shows none ${stage ? `of stage ${stage}` : "without a stage"}`;
  const doubtful = totals.length > 0 ? "; is STAGE as it was?" : "";
  return well(`not compared: ${unread || none + doubtful}`);
}

/** SQL, one transaction on one line: raises totals to what is shown, ahead of what was recorded, under the lock. */
function raising(held: Series[]): string {
  const rows = held.map(
    ({ name, labels, value }) => `(${sqlText(name)}, ${sqlText(JSON.stringify(labels))}::jsonb, ${value})`,
  );
  return `
    begin; ${lockPublisher};
    insert into ledger_metrics.totals as total (name, labels, value, ahead)
    select name, labels, value, value from (values ${rows.join(", ")}) as shown (name, labels, value)
    order by name, labels on conflict (name, labels) do update set value = excluded.value,
      ahead = total.ahead + excluded.value - total.value where total.value < excluded.value;
    commit;
  `
    .replaceAll(/\s+/g, " ")
    .trim();
}
