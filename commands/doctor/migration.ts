import { type Finding, Problem, well, wrong } from "../finding.ts";
import { makePlan, nothingMore } from "../plan/plan.ts";
import type { Session } from "./look.ts";

/** Whether `npm run migrate` has anything to do, for any of its logins. Undefined where nobody has run it. */
export async function lookAtMigration({ ask }: Session): Promise<Finding | undefined> {
  const plan = await makePlan((question) => ask(question, 10), nothingMore).catch((error) => {
    if (!(error instanceof Problem)) throw error;
  });
  // Where the ledger is not to be found, the looks at its tables say why.
  if (!plan?.facts.roles.some(({ name }) => name === "veza_ledger_sampler")) return undefined;
  const [first, ...more] = plan.statements.filter(({ isOptional }) => !isOptional);
  if (first) {
    const others = more.length > 0 ? `; and ${more.length} more` : "";
    return wrong(`there is something to do: ${first.sql.split("\n")[0]}${others}`, "nothing to do", "npm run migrate");
  }
  if (plan.sentences.length === 0) return well("nothing to do");
  return wrong("the owner of a view lacks rights below it", "its rights", ...plan.sentences);
}
