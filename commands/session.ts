import { withDeadline } from "../lib/database.ts";
import { errorFields } from "../lib/log.ts";
import { askOn } from "../lib/question.ts";
import { SecretsError } from "../lib/secrets.ts";
import { loadSettings, type Settings } from "../lib/settings.ts";
import { connect } from "./connect.ts";
import { orRemedy, Problem } from "./finding.ts";
import { loginProblem } from "./login-problem.ts";
import type { Scene, Session } from "./take-looks.ts";

const unread =
  "check its name, the region, and your AWS credentials: aws sts get-caller-identity. Running functions use " +
  'the last good secret meanwhile, and log "secrets not read again"';

/** The functions' settings, from the environment and from the secret if there is one. Throws a Problem. */
export function readSettings({ receiver }: Scene["functions"]): Promise<Settings> {
  return loadSettings(receiver ? "receiver" : "sampler").catch((error) => {
    throw new Problem(errorFields(error).reason, error instanceof SecretsError ? unread : "see docs/settings.md");
  });
}

/** Settings of a question: it writes nothing, waits for little, and numbers arrive to the last digit. */
export const carefully = { transaction_read_only: "on", extra_float_digits: "1" };
export const briefly = { ...carefully, statement_timeout: "1500ms", lock_timeout: "500ms" };
/** For the catalogue, which may hold thousands of tables, and where nobody waits for the reader. */
const patiently = { ...briefly, statement_timeout: "10s" };

/** Connects and logs in as the functions do, until `limit`. Throws a Problem with what fixes it. */
export async function openSession({ database: target }: Settings, limit: AbortSignal): Promise<Session> {
  const database = await connect(async () => target, "veza-ledger-doctor", limit).catch((error) => {
    throw loginProblem(error, target);
  });
  const question = "select session_user as login, current_setting('server_version') as version";
  const [row] = await withDeadline(database, limit, (sql) => sql.unsafe(question));
  // A pooler in statement mode hangs up when an answer leaves a transaction open.
  await orRemedy(
    withDeadline(database, limit, (sql) => sql.unsafe("begin").then(() => sql.unsafe("rollback"))),
    "a pooler before Postgres allows no transaction: set pool_mode = transaction for this database in PgBouncer",
  );
  return {
    ...{ database, login: String(row?.login), version: String(row?.version) },
    ask: askOn(database, limit, briefly),
    askCatalogue: askOn(database, limit, patiently),
    count: askOn(database, limit, carefully),
  };
}
