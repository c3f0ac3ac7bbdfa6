import { settings } from "../../config/rights.ts";
import { type Finding, well, wrong } from "../finding.ts";
import { isOurs } from "../remedies.ts";
import type { Scene, Session } from "../take-looks.ts";

/** Whether the session has the settings that its functions need, whoever has logged in and through whatever pooler. */
export async function lookAtRole({ database: { sql }, login, functions }: Scene & Session): Promise<Finding> {
  const both = functions.sampler ? "veza_ledger" : "veza_ledger_receiver";
  const role = isOurs(login) ? login.replace(/_clone$/, "") : functions.receiver ? both : "veza_ledger_sampler";
  const rows = await sql`select name, current_setting(name) as value from pg_settings`;
  const has = new Map(rows.map(({ name, value }): [string, string] => [name, value]));
  const others = settings.filter(
    ({ roles, name, value }) => roles.includes(role) && has.has(name) && has.get(name) !== value,
  );
  if (others.length === 0) {
    return well(`statement_timeout ${has.get("statement_timeout")}, lock_timeout ${has.get("lock_timeout")}`);
  }
  return wrong(
    `${login} has ${others.map(({ name }) => `${name} ${has.get(name)}`).join(", ")}`,
    others.map(({ value }) => value).join(", "),
    isOurs(login) ? "npm run migrate" : `use the login ${role}: a member of it inherits no settings`,
  );
}
