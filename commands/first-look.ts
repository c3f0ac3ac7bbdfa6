import { runChecks } from "../lib/checks.ts";
import { codeOf, type Database } from "../lib/database.ts";
import { deadline, orAbort } from "../lib/deadline.ts";
import { errorFields } from "../lib/log.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { connect } from "./connect.ts";
import { type Ask, ago, lookAtCheck, lookAtServer, lookAtTables, orRemedy, Problem } from "./ledger-checkup.ts";
import { loginProblem } from "./login.ts";

const questionSeconds = 10;
const totalTimeoutMs = 60_000;

/**
 * Counts on a ledger where nothing of this service is installed. Prints how it reads, the counts, their oldest rows,
 * and what makes them doubtful; or why it cannot, with the remedy. Resolves to whether each check has a count.
 */
export async function firstLook(url: string, schema: string | undefined, settled: string[]): Promise<boolean> {
  try {
    return await lookAt(url, schema, settled);
  } catch (error) {
    const { remedy = "run it again" } = error as Partial<Problem>;
    print(errorFields(error).reason, "✗");
    print(remedy, "→");
    return false;
  }
}

const passwordRemedy =
  "write the characters / # ? % @ of a password as %2F %23 %3F %25 %40; or leave the password out of the URL, " +
  "and set PGPASSWORD";

async function lookAt(url: string, schema: string | undefined, settled: string[]): Promise<boolean> {
  const target = await orRemedy(
    Promise.try(() => parseDatabaseUrl(url)),
    passwordRemedy,
  );
  console.log(
    `Reads ${target.database} on ${target.host} as ${target.username}.\n` +
      `One read-only session, at most ${questionSeconds} s a question, 0.5 s for a lock. Nothing is\n` +
      "written, and nothing is sent anywhere else.\n",
  );
  const limit = deadline("Postgres", totalTimeoutMs);
  const database = await connect(async () => target, "veza-ledger-first-look", limit).catch((error) => {
    const problem = loginProblem(error, target);
    throw codeOf(error) === "28P01" ? new Problem(problem.message, `check them; ${passwordRemedy}`) : problem;
  });
  try {
    return await orAbort(look(database, target.username, schema, settled, limit), limit);
  } finally {
    await database.close();
  }
}

async function look(
  database: Database,
  username: string,
  schema: string | undefined,
  settled: string[],
  limit: AbortSignal,
): Promise<boolean> {
  await database.sql.unsafe(`
    set default_transaction_read_only = on;
    set statement_timeout = '${questionSeconds}s'; set lock_timeout = '500ms';
    set row_security = off; set timezone = 'UTC'`);
  if (schema) await database.sql`select set_config('search_path', quote_ident(${schema}), false)`;

  const outcomes = await runChecks(database, limit);
  for (const outcome of outcomes) {
    const { id, help } = outcome.check;
    const isKnown = "count" in outcome;
    const age = isKnown && outcome.oldestSeconds ? ago(Date.now() / 1000 - outcome.oldestSeconds) : undefined;
    console.log(`${(isKnown ? String(outcome.count) : "?").padStart(8)}  ${id}${age ? `, the oldest ${age} old` : ""}`);
    print(isKnown ? `${help.split(";")[0]}.` : `Unknown: ${errorFields(outcome.error).reason}`);
  }

  const doubts = await doubtsAbout(database, settled);
  if (doubts.length > 0) console.log("\nWhat makes a count doubtful:\n");
  for (const doubt of doubts) {
    print(doubt, "!");
    const [, table] = /permission denied for table (\w+)$/.exec(doubt) ?? [];
    if (table) print(`grant select on ${table} to ${username}`, "→");
  }
  console.log(
    doubts.length > 0
      ? "\nAnother schema? --schema <name>. A status for which nobody waits?\n" +
          "--settled <status>. What each means: docs/what-counts.md"
      : "\nNothing makes these counts doubtful that can be seen from here.",
  );
  return outcomes.every((outcome) => "count" in outcome);
}

/** Prints a text below a count, in lines for a terminal of 80 columns. */
function print(text: string, mark = ""): void {
  const lines = text.match(/.{1,69}(?: |$)|\S+/g) ?? [];
  for (const [index, line] of lines.entries())
    console.log(`${(index === 0 ? mark : "").padStart(8)}  ${line.trimEnd()}`);
}

/** What the doctor would print as ✗ or !, of the ledger alone: its remedies are for roles that are not there yet. */
async function doubtsAbout(database: Database, settled: string[]): Promise<string[]> {
  const doubts: string[] = [];
  const ask: Ask = (name, look) =>
    look().then(
      ([result]) => result,
      ({ message, isDoubt }: Problem) => {
        doubts.push(`${name.replace(/^(table|check) /, "")}: ${message}`);
        return isDoubt ? null : undefined;
      },
    );
  await ask("server", () => lookAtServer(database));
  for (const check of await lookAtTables(database, settled, ask)) {
    await ask(`check ${check.id}`, () => lookAtCheck(database, check));
  }
  return doubts;
}
