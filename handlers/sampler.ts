import type { Handler } from "aws-lambda";
import { logCountedRows } from "../lib/counts/counted-rows.ts";
import { findOtherSampler } from "../lib/counts/other-sampler.ts";
import { exposeSample, infoOf, takeSample } from "../lib/counts/sample.ts";
import { deadlineFor, stayAwake } from "../lib/deadline.ts";
import { isTransient, ledgerJob, push } from "../lib/gateway/pushgateway.ts";
import { pushTimeoutMs, rowsTimeoutMs, sampleTimeoutMs } from "../lib/limits.ts";
import { errorFields, log } from "../lib/log.ts";
import { keepConnections } from "../lib/postgres/connections.ts";
import { retryOnce } from "../lib/retry.ts";
import { doubtSettings, findDatabaseOf, loadSettings } from "../lib/settings/settings.ts";
import { tryToPublish } from "../lib/totals/publish.ts";

const connectBy = keepConnections("veza-ledger-sampler");

/**
 * One tick: takes a sample, pushes the gauges, and publishes the reconciler's totals again, which heals a wiped
 * gateway. Returns the counts by the ids of the checks, -1 when unknown, for an engineer who invokes the function by
 * hand. Throws when the settings could not be read, or the gauges could not be pushed: Lambda's error metric and the
 * silence in Prometheus then raise the alarm.
 */
export const handler: Handler<unknown, Record<string, number>> = () => stayAwake(tick());

async function tick(): Promise<Record<string, number>> {
  const sampledAtSeconds = Date.now() / 1000;
  const startedAt = performance.now();
  const settings = await loadSettings("sampler");
  const { database, pushgateway, stage } = settings;
  const connections = connectBy(findDatabaseOf("sampler", settings));
  try {
    const sample = await takeSample(connections, deadlineFor("Postgres", sampleTimeoutMs));
    const durationSeconds = (performance.now() - startedAt) / 1000;
    const counts: Record<string, number> = {};
    for (const outcome of sample.outcomes) {
      const { id } = outcome.check;
      counts[id] = "error" in outcome ? -1 : outcome.count;
      if ("error" in outcome) log("error", "check failed", { check: id, ...errorFields(outcome.error) });
    }
    if (Object.values(counts).includes(-1)) doubtSettings("sampler");

    const group = { job: ledgerJob, stage };
    // Just before the push, so that hardly any push of another sampler comes between. If one does, that other sampler
    // sees this push when it looks at its own next tick.
    const other = await findOtherSampler(pushgateway, group, infoOf(database), sampledAtSeconds);
    const metrics = await exposeSample(sample, { sampledAtSeconds, durationSeconds, database, other });
    const pushGauges = () => push(pushgateway, group, metrics, deadlineFor("the Pushgateway", pushTimeoutMs));
    await retryOnce(pushGauges, isTransient);
    log("info", "tick", { ...counts, duration_seconds: Number(durationSeconds.toFixed(3)) });

    await tryToPublish(connections, settings);
    await logCountedRows(connections, sample, deadlineFor("the ids of counted rows", rowsTimeoutMs));
    return counts;
  } catch (error) {
    doubtSettings("sampler");
    throw error;
  } finally {
    // Lambda freezes the process until the next tick; a kept connection would not survive that.
    await connections.closeFree();
  }
}
