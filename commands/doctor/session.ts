import { type Database, withDeadline } from "../../lib/database.ts";
import { errorFields } from "../../lib/log.ts";
import { askOn } from "../../lib/question.ts";
import { SecretsError } from "../../lib/secrets.ts";
import { loadSettings, type Settings } from "../../lib/settings.ts";
import { Problem, type Step } from "../finding.ts";
import { logIn } from "../log-in.ts";
import { safeSettings } from "../plan/facts.ts";
import type { Scene, Session } from "./look.ts";

const unread =
  "check its name, the region, and your AWS credentials: aws sts get-caller-identity. Running functions use " +
  'the last good secret meanwhile, and log "secrets not read again"';

/** The functions' settings, from the environment and from the secret if there is one. Throws a Problem. */
export function readSettings({ receiver }: Scene["functions"]): Promise<Settings> {
  return loadSettings(receiver ? "receiver" : "sampler").catch((error) => {
    throw new Problem(errorFields(error).reason, error instanceof SecretsError ? unread : "see docs/settings.md");
  });
}

/** Returns how to ask on this connection until `limit`: read-only, with short waits, and with all digits of numbers. */
export function askBriefly(database: Database, limit: AbortSignal, settings: Record<string, string> = {}) {
  const brief = { transaction_read_only: "on", extra_float_digits: "1", lock_timeout: "500ms", ...settings };
  const ask: Session["ask"] = (question, seconds = 1.5) =>
    askOn(database, limit, { ...brief, statement_timeout: `${1_000 * seconds}ms` })(question);
  return ask;
}

/** Connects and logs in as the functions do, until `limit`. Throws a Problem with what fixes it. */
export async function openSession({ database: target }: Settings, limit: AbortSignal): Promise<Session> {
  const database = await logIn(target, "veza-ledger-doctor", limit);
  const ours = "put a login into DATABASE_URL that npm run migrate makes, such as veza_ledger_sampler";
  const login = await readingLogin(database, limit, ours);
  const [row] = await withDeadline(database, limit, (sql) => sql.unsafe("show server_version"));
  return { database, login, version: String(row?.server_version), ask: askBriefly(database, limit) };
}

/**
 * Resolves to who has logged in. Throws a Problem with this remedy for a superuser, or a login that is as good as one,
 * such as RDS' master: a count runs functions of the application, behind views, policies and operators.
 */
export async function readingLogin(database: Database, limit: AbortSignal, ...remedy: Step[]): Promise<string> {
  const question = `${safeSettings}
    select session_user as login, exists (
      select from pg_roles
      where (rolcreaterole or rolname in ('pg_execute_server_program', 'pg_write_server_files'))
        and pg_has_role(session_user, oid, 'member')) as is_mighty`;
  const rows = await withDeadline(database, limit, (sql) => sql.unsafe(question));
  const [{ login, is_mighty: isMighty }] = rows.at(-1) as unknown as [{ login: string; is_mighty: boolean }];
  if (!isMighty) return login;
  await database.close();
  throw new Problem(`${login} is a superuser, or as good as one: the application's code would run as it`, ...remedy);
}
