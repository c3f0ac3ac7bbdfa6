import { maxClockDifferenceSeconds } from "../../lib/limits.ts";
import { clockDifferenceSeconds } from "../../lib/primary-and-clock.ts";
import type { Ask } from "../../lib/question.ts";
import { doubt, type Finding, well, wrong } from "../finding.ts";
import type { Session } from "./look.ts";

/**
 * Whether this is the primary: on a replica, nothing is counted and nothing published. Whether the clocks are too far
 * apart to count minutes by is a doubt, since this machine's may be the wrong one.
 */
export async function lookAtServer({ ask }: Pick<Session, "ask">): Promise<Finding> {
  const [row] = await ask("select pg_is_in_recovery() as is_replica");
  if (row?.is_replica) {
    return wrong("a replica, where nothing counts", "the primary", "name the primary in DATABASE_URL");
  }
  const apart = await clocksApart(ask);
  if (apart <= maxClockDifferenceSeconds) return well("the primary");
  return doubt(
    `the clocks of Postgres and this machine are ${Math.round(apart)} s apart`,
    `at most ${maxClockDifferenceSeconds} s`,
    "correct the wrong one: docs/runbook/reasons.md",
  );
}

/** Whether Postgres' clock is right enough to tell the future by. */
export const isClockRight = async (ask: Ask): Promise<boolean> => (await clocksApart(ask)) <= maxClockDifferenceSeconds;

async function clocksApart(ask: Ask): Promise<number> {
  const askedAtSeconds = Date.now() / 1000;
  const [row] = await ask("select extract(epoch from clock_timestamp()) as now");
  return clockDifferenceSeconds(Number(row?.now), askedAtSeconds);
}
