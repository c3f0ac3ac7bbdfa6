import { deadlineFor } from "../deadline.ts";
import { type Series, series } from "../gateway/exposition.ts";
import { type Group, type PushgatewayTarget, readGroup } from "../gateway/pushgateway.ts";
import { otherSamplerSeconds, otherSamplerTimeoutMs } from "../limits.ts";
import { infoMetric, otherSamplerMetric, sampleTimestampMetric } from "./sample.ts";

/**
 * Looks whose numbers are in the group that this tick replaces. Resolves to a series with the time of their tick, if it
 * was of another database or region, in the last 3 minutes. Another version is no other sampler, but an upgrade. Never
 * rejects: what cannot be read within a second tells nothing, as on VictoriaMetrics, which shows no group.
 */
export async function findOtherSampler(
  gateway: PushgatewayTarget,
  group: Group,
  own: Series["labels"],
  nowSeconds: number,
): Promise<Series | undefined> {
  const deadline = deadlineFor("the Pushgateway", otherSamplerTimeoutMs);
  const { shown } = await readGroup(gateway, group, deadline).catch(() => ({ shown: [] as Series[] }));
  const tickedAtSeconds = shown.find(({ name }) => name === sampleTimestampMetric)?.value ?? 0;
  const info = shown.find(({ name }) => name === infoMetric)?.labels;
  if (!info || nowSeconds - tickedAtSeconds > otherSamplerSeconds) return undefined;
  const { region = "", database = "" } = info; // A proxy may leave out empty labels.
  if (region === own.region && database === own.database) return undefined;
  return series(otherSamplerMetric, { region, database }, tickedAtSeconds);
}
