// The look "counts": what counts now.
import { checks, type Outcome, runChecks } from "../../lib/checks.ts";
import type { Ask } from "../../lib/question.ts";
import { type Finding, well } from "./finding.ts";
import { ago } from "./print.ts";
import type { LedgerScene } from "./scene.ts";

/** Says what counts now. On day one, the alerts fire for old rows. */
export async function lookAtCounts({ ask }: LedgerScene): Promise<Finding> {
  const outcomes = await countNow(ask);
  const texts = outcomes.flatMap((outcome) => {
    if ("error" in outcome) return [`${outcome.check.id} unknown`];
    return outcome.count === 0 ? [] : [`${outcome.check.id} ${countOf(outcome)}`];
  });
  return well(texts.join("; ") || "0 everywhere: nothing is stuck now");
}

/** Runs the checks one after the other: each may take as long as the server is given. */
export async function countNow(ask: Ask): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const check of checks) outcomes.push(...(await runChecks(ask, [check])));
  return outcomes;
}

/** A count with its oldest row: `3, the oldest 90 min old`. */
export function countOf({ count, oldestSeconds }: Exclude<Outcome, { error: unknown }>): string {
  return `${count}${oldestSeconds ? `, the oldest ${ago(Date.now() / 1000 - oldestSeconds)} old` : ""}`;
}
