import { maxClockDifferenceSeconds } from "../../lib/limits.ts";
import { clockDifferenceSeconds } from "../../lib/primary-and-clock.ts";
import { doubt, type Finding, type Scene, well, wrong } from "../look.ts";

/**
 * Whether this is the primary: on a replica, nothing is counted and nothing published. Whether the clocks are too far
 * apart to count minutes by is a doubt, since this machine's may be the wrong one.
 */
export async function lookAtServer(scene: Scene): Promise<Finding> {
  const askedAtSeconds = Date.now() / 1000;
  const [row] = await scene.ask(
    "select pg_is_in_recovery() as is_replica, extract(epoch from clock_timestamp()) as now",
  );
  if (row?.is_replica) return wrong("a replica, where nothing counts", "name the primary in DATABASE_URL");
  const difference = clockDifferenceSeconds(Number(row?.now), askedAtSeconds);
  scene.isClockRight = difference <= maxClockDifferenceSeconds;
  if (scene.isClockRight) return well("the primary");
  return doubt(
    `the clocks of Postgres and this machine are ${Math.round(difference)} s apart`,
    "correct the wrong one: docs/runbook/reasons.md",
  );
}
