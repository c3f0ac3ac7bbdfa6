import { type Finding, well, wrong } from "../finding.ts";
import { isOurs } from "../remedies.ts";
import type { Scene, Session } from "../take-looks.ts";

/** Whether the session has the settings of roles.sql. */
export async function lookAtRole({ database: { sql }, login, functions }: Scene & Session): Promise<Finding> {
  const rows = await sql`select name, setting from pg_settings`;
  const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  const unset: Record<string, string> = {
    statement_timeout: "0",
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    ...(functions.sampler && { row_security: "on" }),
    ...(functions.receiver && { idle_session_timeout: "0" }),
  };
  const remedy = isOurs(login)
    ? ["npm run migrate", "again for a _clone that AWS' rotation has made"]
    : ["use a login of config/postgres/roles.sql: a member of its roles inherits no settings"];
  const missing = Object.keys(unset).filter((name) => settings[name] === unset[name]);
  if (settings.default_transaction_isolation !== "read committed") missing.push("default_transaction_isolation");
  if (missing.length > 0) return wrong(`${login} has no ${missing.join(", ")}`, "as in roles.sql", ...remedy);
  return well(`statement ${settings.statement_timeout} ms, lock ${settings.lock_timeout} ms`);
}
