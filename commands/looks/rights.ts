import { type Finding, type Scene, well, wrong } from "../look.ts";
import { missingRights } from "../rights.ts";

/** Whether a function's login has all rights that it needs, and people on call have theirs. */
export async function lookAtRights({ database: { sql }, functions }: Scene): Promise<Finding> {
  const bases = (["sampler", "receiver"] as const)
    .filter((name) => functions[name])
    .map((name) => `veza_ledger_${name}`);
  const [row] = await sql`select session_user as login, to_regrole('veza_ledger_oncall') is not null as has_oncall`;
  const login = String(row?.login);
  const needs = [{ role: login, bases, grantee: login.replace(/^(veza_ledger\w*)_clone$/, "$1") }];
  const oncall = "veza_ledger_oncall";
  if (functions.sampler && row?.has_oncall) needs.push({ role: oncall, bases: [oncall], grantee: oncall });
  for (const { role, bases, grantee } of needs) {
    const missing = await missingRights((question) => sql.unsafe(question), role, bases, grantee);
    if (missing.length > 0) {
      return wrong(`${role} lacks rights`, missing.length > 3 ? "npm run migrate" : missing.join("; "));
    }
  }
  return well(functions.sampler ? "all that are needed, and those of people on call" : "all that are needed");
}
