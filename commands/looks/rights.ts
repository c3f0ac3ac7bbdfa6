import type { Ask } from "../../lib/question.ts";
import { type Finding, type Scene, well, wrong } from "../look.ts";
import { missingRights } from "../rights.ts";

/** Whether the login has all rights that its functions need. */
export async function lookAtRights({ ask, login, functions }: Scene): Promise<Finding> {
  const needed = [
    ...(functions.sampler ? ["veza_ledger_sampler"] : []),
    ...(functions.receiver ? ["veza_ledger_receiver"] : []),
  ];
  return await compare(ask, login, needed);
}

/** Whether people on call have theirs, where there is their role. */
export async function lookAtOncall({ ask }: Scene): Promise<Finding | undefined> {
  const oncall = "veza_ledger_oncall";
  const [row] = await ask(`select from pg_roles where rolname = '${oncall}'`);
  return row && (await compare(ask, oncall, [oncall]));
}

async function compare(ask: Ask, login: string, roles: string[]): Promise<Finding> {
  const missing = await missingRights(ask, login, roles);
  if (missing.length === 0) return well("all that are needed");
  if (!/^veza_ledger/.test(login)) return wrong(`${login} lacks rights`, missing.join("; "));
  const what = missing.map((statement) => /grant (.*) to /.exec(statement)?.[1]);
  return wrong(`${login} lacks ${what.join(", ")}`, "npm run migrate");
}
