import { type Finding, type Step, well, wrong } from "../finding.ts";
import { lackingGrants } from "../plan/plan.ts";
import { isOurs } from "../remedies.ts";
import type { Scene, Session } from "../take-looks.ts";

/** Whether the login has all rights that its functions need. People on call have rights of their own. */
export async function lookAtRights({ ask, login, functions }: Scene & Session): Promise<Finding> {
  const needed = [functions.sampler && "veza_ledger_sampler", functions.receiver && "veza_ledger_receiver"];
  const whose = login === "veza_ledger_oncall" ? [login] : needed.filter((role) => role !== false);
  const { statements, sentences } = await lackingGrants((question) => ask(question, 10), login, whose);
  if (statements.length + sentences.length === 0) return well("all that are needed");
  const lacks = statements.map(({ sql }) => sql.replace(/^grant (.*) to (.*)$/, "$2 lacks $1"));
  const found = [...lacks, ...sentences.map(() => "the owner of a view lacks rights below it")].join("; ");
  const grants = statements.map(({ as, sql }): Step => ({ as, sql }));
  const steps = isOurs(login) && grants.length > 0 ? ["npm run migrate"] : grants;
  return wrong(found, "its rights, and those below a view for its owner or caller", ...steps, ...sentences);
}
