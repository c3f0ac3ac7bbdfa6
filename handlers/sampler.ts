import type { Handler } from "aws-lambda";
import { ledgerRegistry } from "../lib/checks.ts";
import { deadline, stayAwake } from "../lib/deadline.ts";
import { errorFields, log } from "../lib/log.ts";
import { push } from "../lib/pushgateway.ts";
import { takeSample } from "../lib/sample.ts";
import { loadSettings } from "../lib/settings.ts";
import { publishTotals } from "../lib/totals.ts";

/** Of the function's 25 s: 2 for settings, 8 for Postgres, 6.5 and 5.5 to push, 3 spare. */
export const databaseTimeoutMs = 8_000;
const pushTimeoutMs = 6_500;
const publishTimeoutMs = 5_500;

const findDatabase = async (fresh: boolean) => (await loadSettings("sampler", { fresh })).database;

/**
 * One tick: counts, pushes the gauges, then publishes the reconciler's totals again, which heals a wiped gateway. Returns the
 * counts, for whoever invokes it by hand. Throws when the gauges could not be pushed: Lambda's error metric, and the silence
 * in Prometheus, are the signal then.
 */
export const handler: Handler<unknown, Counts> = () => stayAwake(tick());

/** By the checks' ids; -1 for one that is unknown. */
type Counts = Record<string, number>;

async function tick(): Promise<Counts> {
  const sampledAtSeconds = Date.now() / 1000;
  const startedAt = performance.now();
  const { pushgateway, stage } = await loadSettings("sampler");

  const databaseDeadline = deadline("Postgres", databaseTimeoutMs);
  const { outcomes, connecting } = await takeSample(findDatabase, "veza-ledger-sampler", databaseDeadline);
  try {
    const durationSeconds = (performance.now() - startedAt) / 1000;
    for (const outcome of outcomes) {
      if ("error" in outcome) log("error", "check failed", { check: outcome.check.id, ...errorFields(outcome.error) });
    }

    const registry = ledgerRegistry(outcomes, sampledAtSeconds, durationSeconds);
    await push(pushgateway, { job: "veza_ledger", stage }, registry, deadline("the Pushgateway", pushTimeoutMs));
    const counts: Counts = {};
    for (const outcome of outcomes) counts[outcome.check.id] = "error" in outcome ? -1 : outcome.count;
    log("info", "tick", { ...counts, duration_seconds: Number(durationSeconds.toFixed(3)) });

    try {
      const publishDeadline = deadline("publishing the totals", publishTimeoutMs);
      await publishTotals(await connecting, pushgateway, stage, publishDeadline);
    } catch (error) {
      log("warn", "reconciler totals not published", errorFields(error));
    }
    return counts;
  } finally {
    // A connection kept over the minute that a Lambda is frozen would be dead afterwards.
    await connecting.then(({ close }) => close()).catch(() => {});
  }
}
