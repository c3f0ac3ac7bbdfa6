// The look "totals on the gateway": whether the gateway shows more than the totals, which are lost events then.
import { deadlineFor } from "../../lib/deadline.ts";
import type { Series } from "../../lib/gateway/exposition.ts";
import { readGroup, reconcilerJob } from "../../lib/gateway/pushgateway.ts";
import { comparePushTimeoutMs } from "../../lib/limits.ts";
import { heldCounters } from "../../lib/totals/totals.ts";
import { type Finding, orRemedy, well, wrong } from "./finding.ts";
import type { InstallationScene } from "./scene.ts";
import { installAgain } from "./shared-steps.ts";

/**
 * Compares the gateway with the totals. It is wrong when counters are held above their totals, or the gateway's page
 * does not come in time.
 */
export async function lookAtTotalsOnTheGateway({ ask, settings }: InstallationScene): Promise<Finding> {
  const { pushgateway, stage } = settings;
  const limit = deadlineFor("the Pushgateway", comparePushTimeoutMs);
  const { shown, unread } = await orRemedy(
    readGroup(pushgateway, { job: reconcilerJob, stage }, limit),
    `have the gateway show /metrics within ${comparePushTimeoutMs} ms, or no totals are published`,
  );
  // The totals are read after the gateway, so that they cannot be older than what it shows.
  const totals = await orRemedy(
    ask("select name, labels, to_jsonb(value) as value from ledger_metrics.totals") as Promise<Series[]>,
    installAgain,
  );
  const held = heldCounters(totals, shown);
  if (held[0]) {
    const { name, value, total } = held[0];
    return wrong(
      `events are lost: the gateway shows ${name} ${value}, and Postgres has ${total} (${held.length} such)`,
      "totals that are not below the gateway's",
      "send again what was lost: docs/lost-and-wrong-events.md",
    );
  }
  if (shown.length > 0) return well("as the gateway shows them");
  const none = `the gateway shows none ${stage ? `of stage ${stage}` : "without a stage"}`;
  const doubtful = totals.length > 0 ? "; is STAGE as it was?" : "";
  return well(`not compared: ${unread || none + doubtful}`);
}
