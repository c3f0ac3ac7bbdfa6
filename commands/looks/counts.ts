import { alertOf } from "../../config/checks.ts";
import { checks, type Outcome, runChecks } from "../../lib/checks.ts";
import { ago, type Finding, type Scene, well } from "../look.ts";

/** Says what counts now, and which alerts that makes unless rows are accepted: on day one, they fire for old rows. */
export async function lookAtCounts(scene: Scene): Promise<Finding> {
  scene.outcomes = [];
  // One after the other: each may take as long as the server is given.
  for (const check of checks) scene.outcomes.push(...(await runChecks(scene.count, [check])));
  const texts = scene.outcomes.flatMap((outcome) =>
    "error" in outcome || outcome.count === 0 ? [] : [textOf(outcome)],
  );
  const unknown = scene.outcomes.filter((outcome) => "error" in outcome).length;
  if (unknown > 0) texts.push(`unknown: ${unknown}`);
  return well(texts.join("; ") || "0 everywhere: nothing is stuck now");
}

function textOf({ check, count, oldestSeconds = 0 }: Exclude<Outcome, { error: unknown }>): string {
  const age = Date.now() / 1000 - oldestSeconds;
  const oldest = oldestSeconds > 0 ? `, the oldest ${ago(age)} old` : "";
  const tooOld = oldestSeconds > 0 && age > 86_400 ? ", and VezaLedgerRowsTooOld unless that alert pages" : "";
  return `${check.id} ${count}${oldest}: ${alertOf(check)} fires${tooOld}`;
}
