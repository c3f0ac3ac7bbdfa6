// The look "counts": what counts now.
import { checks } from "../../lib/counts/checks.ts";
import { type Outcome, runChecks } from "../../lib/counts/counting.ts";
import { mayUse, unusable } from "../../lib/postgres/session-facts.ts";
import { type Finding, well, wrong } from "./finding.ts";
import { ago } from "./print.ts";
import type { LedgerScene } from "./scene.ts";

/** Says what counts now, accepted rows included. The looks at the checks say why a count fails. */
export async function lookAtCounts(scene: LedgerScene): Promise<Finding> {
  const problem = await schemaProblem(scene);
  if (problem) return wrong(`all unknown: ${problem.message}`, "a schema that it may use", "correct LEDGER_SCHEMA");
  const outcomes = await countEach(scene.ask);
  const texts = outcomes.flatMap((outcome) => {
    if ("error" in outcome) return [`${outcome.check.id} unknown`];
    return outcome.count === 0 ? [] : [`${outcome.check.id} ${countOf(outcome)}`];
  });
  return well(texts.join("; ") || "0 everywhere: nothing is stuck now");
}

/** Why a tick would count nothing: the ledger's schema cannot be used. */
async function schemaProblem({ ask, database }: LedgerScene): Promise<Error | undefined> {
  const { schema } = database.ledger;
  const [row] = await ask(`select ${mayUse(schema)} as may_use`);
  return row?.may_use ? undefined : unusable(schema);
}

/** Counts as a tick would. Every count fails where a tick counts nothing. Rejects where Postgres does not answer. */
export async function countNow(scene: LedgerScene): Promise<Outcome[]> {
  const problem = await schemaProblem(scene);
  return problem ? checks.map((check) => ({ check, error: problem })) : countEach(scene.ask);
}

/** Counts one check after the other, unlike a tick: each may take as long as the server is given. */
async function countEach(ask: LedgerScene["ask"]): Promise<Outcome[]> {
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
