import { alertOf } from "../../config/checks.ts";
import { checks, type Outcome, runChecks } from "../../lib/checks.ts";
import type { Ask } from "../../lib/question.ts";
import { type Finding, well } from "../finding.ts";
import { ago } from "../print.ts";
import type { Session } from "./look.ts";

/** Says what counts now, and which alerts that makes unless rows are accepted: on day one, they fire for old rows. */
export async function lookAtCounts({ ask }: Session): Promise<Finding> {
  const outcomes = await countNow(ask);
  const texts = outcomes.flatMap((outcome) => {
    if ("error" in outcome || outcome.count === 0) return [];
    const age = outcome.oldestSeconds ? Date.now() / 1000 - outcome.oldestSeconds : 0;
    const tooOld = age > 86_400 ? ", and VezaLedgerRowsTooOld unless that alert pages" : "";
    return [`${outcome.check.id} ${countOf(outcome)}: ${alertOf(outcome.check)} fires${tooOld}`];
  });
  const unknown = outcomes.filter((outcome) => "error" in outcome).length;
  if (unknown > 0) texts.push(`unknown: ${unknown}`);
  return well(texts.join("; ") || "0 everywhere: nothing is stuck now");
}

/** Runs the checks one after the other: each may take as long as the server is given. */
export async function countNow(count: Ask): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const check of checks) outcomes.push(...(await runChecks(count, [check])));
  return outcomes;
}

/** A count with its oldest row: `3, the oldest 90 min old`. */
export function countOf({ count, oldestSeconds }: Exclude<Outcome, { error: unknown }>): string {
  return `${count}${oldestSeconds ? `, the oldest ${ago(Date.now() / 1000 - oldestSeconds)} old` : ""}`;
}
