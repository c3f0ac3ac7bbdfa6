// The look "counts": what counts now.
import { checks } from "../../lib/counts/checks.ts";
import { type Outcome, runChecks } from "../../lib/counts/counting.ts";
import { type Finding, well, wrong } from "./finding.ts";
import { ago } from "./print.ts";
import type { LedgerScene } from "./scene.ts";

/** Says what counts now, accepted rows included. The looks at the checks say why a count fails. */
export async function lookAtCounts(scene: LedgerScene): Promise<Finding> {
  const outcomes = await countNow(scene);
  const texts = outcomes.flatMap((outcome) => {
    if ("error" in outcome) return [`${outcome.check.id} unknown`];
    return outcome.count === 0 ? [] : [`${outcome.check.id} ${countOf(outcome)}`];
  });
  const found = texts.join("; ") || "0 everywhere: nothing is stuck now";
  if (outcomes.every((outcome) => "count" in outcome)) return well(found);
  return wrong(found, "a number of each check", "see the lines of these checks and tables");
}

/** Counts one check after the other, unlike a tick: each may take as long as the server is given. Never rejects. */
export async function countNow({ ask }: Pick<LedgerScene, "ask">): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const check of checks) outcomes.push(...(await runChecks(ask, [check])));
  return outcomes;
}

/** A count with its oldest row: `3, the oldest 90 min old`. */
export function countOf({ count, oldestSeconds }: Exclude<Outcome, { error: unknown }>): string {
  if (!oldestSeconds) return String(count);
  const ageSeconds = Date.now() / 1000 - oldestSeconds;
  return `${count}, the oldest ${ageSeconds < 0 ? "with a time in the future" : `${ago(ageSeconds)} old`}`;
}
