import { type Finding, type Scene, well, wrong } from "../look.ts";

/** Shorter time-outs end statements that work. */
const shortestMs = { statement_timeout: 500, lock_timeout: 200 };

/** Whether the session has the settings of roles.sql, with values that work. */
export async function lookAtRole({ database: { sql }, functions: { sampler, receiver } }: Scene): Promise<Finding> {
  const rows = await sql`select name, setting, session_user as login from pg_settings`;
  const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  const login = String(rows[0]?.login);
  const unset: Record<string, string> = {
    statement_timeout: "0",
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    ...(sampler && { row_security: "on" }),
    ...(receiver && { idle_session_timeout: "0" }),
  };
  const isOurs = /^veza_ledger/.test(login);
  const remedy = isOurs
    ? "npm run migrate (again, for a _clone that AWS' rotation has made)"
    : "use a login of config/postgres/roles.sql: a member of its roles inherits no settings";
  const missing = Object.keys(unset).filter((name) => settings[name] === unset[name]);
  if (settings.default_transaction_isolation !== "read committed") missing.push("default_transaction_isolation");
  if (missing.length > 0) return wrong(`${login} has no ${missing.join(", ")}`, remedy);
  for (const [name, ms] of Object.entries(shortestMs)) {
    if (Number(settings[name]) < ms) return wrong(`${name} of ${settings[name]} ms is too short`, remedy);
  }
  return well(`statement ${settings.statement_timeout} ms, lock ${settings.lock_timeout} ms`);
}
