// The look "server": whether its clock is near this machine's.
import { maxClockDifferenceSeconds } from "../../lib/limits.ts";
import { clockDifferenceSeconds } from "../../lib/postgres/session-facts.ts";
import { doubt, type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/**
 * Whether the clocks are too far apart to count minutes by is a doubt, since this machine's may be the wrong one. Any
 * answer proves that this is the primary.
 */
export async function lookAtServer({ ask }: Pick<LedgerScene, "ask">): Promise<Finding> {
  const askedAtSeconds = Date.now() / 1000;
  const [row] = await ask("select extract(epoch from clock_timestamp())::float8 as now");
  const apart = clockDifferenceSeconds(Number(row?.now), askedAtSeconds);
  if (apart <= maxClockDifferenceSeconds) return well("the primary");
  return doubt(
    `the clocks of Postgres and this machine are ${Math.round(apart)} s apart`,
    `at most ${maxClockDifferenceSeconds} s`,
    "correct the wrong one: docs/runbook/reasons.md",
  );
}
