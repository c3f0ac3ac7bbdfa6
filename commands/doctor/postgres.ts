// The look "Postgres": a session as the functions open it, by a login that may do no more than it needs.
import { readTimeoutMs } from "../../lib/limits.ts";
import { codeOf, type Database, withDeadline } from "../../lib/postgres/database.ts";
import { AnsweredByReplica, ownAnswer } from "../../lib/postgres/own-answer.ts";
import { askOn } from "../../lib/postgres/question.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { Problem, type Step } from "./finding.ts";
import { poolerOf } from "./pooler.ts";
import { logIn } from "./postgres-log-in.ts";
import type { AskWithin, LedgerScene } from "./scene.ts";

/** SQL: no name leads to the application, until the transaction ends. */
const safeSettings = "set local search_path = pg_catalog, pg_temp;";

/**
 * Returns how to ask on this connection until `limit`: read-only, with all digits of numbers, and with the time-outs of
 * a count, so that what the doctor can read, a tick can read. Where a replica answers, the connection ends for this
 * reason, and with it all looks.
 */
export function askBriefly(database: Database, limit: AbortSignal): AskWithin {
  const brief = {
    extra_float_digits: "1",
    max_parallel_workers_per_gather: "0", // So that a plan's costs are those of one process.
  };
  return (question, seconds = readTimeoutMs / 1_000) =>
    askOn(database, limit, { ...brief, statement_timeout: `${1_000 * seconds}ms` })(question).catch(async (error) => {
      if (error instanceof AnsweredByReplica) await database.close(error);
      throw error;
    });
}

/** A session on Postgres: what the looks at an installation are told of it, the server's version, and the pooler. */
export type Session = Pick<LedgerScene, "database" | "login" | "ask"> & { version: string; pooler: string | undefined };

/** Connects and logs in as the functions do, until `limit`. Throws a Problem with what fixes it. */
export async function openSession({ database: target }: Settings, limit: AbortSignal): Promise<Session> {
  const database = await logIn(target, "veza-ledger-doctor", limit);
  const useOurs = "put a login of config/postgres/roles.sql into DATABASE_URL, such as veza_ledger_sampler";
  try {
    const login = await refuseSuperuser(database, limit, useOurs);
    const ask = askBriefly(database, limit);
    const [row] = await ask("select current_setting('server_version') as version").catch((error) => {
      const { timeZone } = database.ledger;
      if (codeOf(error) !== "22023") throw error; // Invalid parameter value: no other setting is given by people.
      throw new Problem(`LEDGER_TIMEZONE: this server knows no zone ${timeZone}`, "see pg_timezone_names there");
    });
    return { database, login, version: String(row?.version), pooler: await poolerOf(database, target, limit), ask };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/**
 * Resolves to who has logged in. Throws a Problem with this remedy for a superuser, or a login that is as good as one,
 * such as RDS' master: a count runs functions of the application, behind views, policies and operators.
 */
export async function refuseSuperuser(database: Database, limit: AbortSignal, ...remedy: Step[]): Promise<string> {
  const question = `
    select session_user as login, exists (
      select from pg_roles
      where (rolsuper or rolcreaterole or rolname = any (array[
          'pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files', 'rds_superuser'
        ]))
        and pg_has_role(session_user, oid, 'member')) as is_mighty`;
  type Answer = { login: string; is_mighty: boolean };
  const [row] = await withDeadline(database, limit, (sql) => ownAnswer<Answer>(sql, safeSettings, question));
  if (!row) throw new Error("Postgres did not say who has logged in");
  const { login, is_mighty: isMighty } = row;
  if (!isMighty) return login;
  throw new Problem(`${login} is a superuser, or as good as one: the application's code would run as it`, ...remedy);
}
