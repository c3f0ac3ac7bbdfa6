// `npm run doctor -- postgres://…`: counts on a ledger where nothing of this service is installed.
import type { Check } from "../../lib/counts/checks.ts";
import type { Outcome } from "../../lib/counts/counting.ts";
import { deadlineFor, orAbort } from "../../lib/deadline.ts";
import { readLockTimeoutMs } from "../../lib/limits.ts";
import { errorFields } from "../../lib/log.ts";
import { codeOf, type Database } from "../../lib/postgres/database.ts";
import { AnsweredByReplica } from "../../lib/postgres/own-answer.ts";
import type { DatabaseTarget } from "../../lib/settings/settings.ts";
import { parseDatabaseUrl } from "../../lib/settings/settings.ts";
import { isOurs, tables } from "../declared-rights.ts";
import { sqlName, visibly } from "../quote.ts";
import { countNow, countOf } from "./counts.ts";
import { doubt, type Finding, findingOf, orRemedy, type Step, type Verdict, wrong } from "./finding.ts";
import { firstDayName, firstLooks, type Look } from "./looks.ts";
import { askBriefly, refuseSuperuser } from "./postgres.ts";
import { logIn } from "./postgres-log-in.ts";
import { linesOf, type Print } from "./print.ts";
import type { AskWithin, LedgerScene } from "./scene.ts";
import { ledgerOf } from "./settings.ts";
import { type Limit, takeAll } from "./take.ts";

/** For one question, at Postgres. Where no answer comes, the connection is given up 2 s later. */
const questionSeconds = 10;
/** For all questions together. */
const totalTimeoutMs = 60_000;

/**
 * Counts on the ledger behind a URL, in this schema, or where the environment says. Prints the counts, their oldest
 * rows, and what makes them doubtful; or why it cannot, with the remedy. Nobody waits for rows in `settled` statuses.
 */
export async function countByUrl(
  url: string,
  schema: string | undefined,
  settled: string[],
  print: Print,
): Promise<Verdict> {
  let database: Database | undefined;
  try {
    const target = await targetOf(url, schema);
    print(
      visibly(`Reads ${target.database} on ${target.host} as ${target.username}.`) +
        `\nRead-only transactions, at most ${questionSeconds} s a question, ` +
        `${readLockTimeoutMs / 1_000} s for a lock. Nothing is\n` +
        "written, nothing stays set on the session, and nothing is sent anywhere else.\n",
    );
    const signal = deadlineFor("Postgres", totalTimeoutMs);
    database = await logIn(target, "veza-ledger-first-look", signal);
    const login = await refuseAdministrator(database, signal);
    const scene: LedgerScene = {
      functions: { sampler: true, receiver: false },
      settled,
      database,
      login,
      ask: askWithOwnDeadlines(database),
    };
    const limit = { database, signal, timeoutMs: totalTimeoutMs };
    return await orAbort(count(scene, print, limit, grantTo(login, target.ledger.schema)), signal);
  } catch (error) {
    print(linesOf("Postgres", findingOf(error)));
    return { isWrong: true, doubts: [] };
  } finally {
    await database?.close();
  }
}

/** Where the ledger is. Throws a Problem that shows no password. */
async function targetOf(url: string, schema: string | undefined): Promise<DatabaseTarget> {
  const target = await orRemedy(
    Promise.try(() => parseDatabaseUrl(url)),
    "leave the password out of the URL, and set PGPASSWORD",
  );
  const { LEDGER_SCHEMA, LEDGER_TIMEZONE } = process.env;
  const ledger = await orRemedy(
    Promise.try(() => ledgerOf({ LEDGER_SCHEMA: schema ?? LEDGER_SCHEMA, LEDGER_TIMEZONE })),
    "name its schema by --schema, as it is in the catalogue, without quotes",
  );
  return { ...target, ledger };
}

/**
 * Resolves to who has logged in. Throws a Problem for an administrator, with what makes a login that may only read.
 * Comes before any question that may run functions of the application.
 */
function refuseAdministrator(database: Database, limit: AbortSignal): Promise<string> {
  return refuseSuperuser(
    database,
    limit,
    "look by a login that may only read, such as this:",
    "as a superuser: create role ledger_reader login connection limit 3;",
    grantTo("ledger_reader", database.ledger.schema),
    "give it a password by \\password ledger_reader in psql",
  );
}

/** Grants what the looks read: the tables, and their schema. */
function grantTo(login: string, schema: string): Step {
  const names = tables.map((table) => `${sqlName(schema)}.${table}`).join(", ");
  const to = sqlName(login);
  return `as a superuser: grant usage on schema ${sqlName(schema)} to ${to}; grant select on ${names} to ${to};`;
}

/** Each question has a deadline of its own: a server that went away is noticed with the next one. */
function askWithOwnDeadlines(database: Database): AskWithin {
  return (question, seconds = questionSeconds) =>
    askBriefly(database, deadlineFor("Postgres", (questionSeconds + 2) * 1_000))(question, seconds);
}

/** Prints the counts, and below them what the looks find doubtful. */
async function count(scene: LedgerScene, print: Print, limit: Limit, grant: Step): Promise<Verdict> {
  const outcomes = await countNow(scene);
  const doubts: { name: string; finding: Finding; about: Look<LedgerScene>["about"] }[] = [];
  await takeAll(
    firstLooks,
    scene,
    (name, finding, about) => void (finding.mark === "✓" || doubts.push({ name, finding, about })),
    limit,
  );
  const { lost } = scene.database;
  if (lost.reason instanceof AnsweredByReplica) throw lost.reason;
  if (lost.aborted) throw new Error("the connection to Postgres was lost");

  const isDoubtful = (check: Check) => doubts.some(({ about }) => about === check || about === check.table);
  for (const outcome of outcomes) print(linesOf(outcome.check.id, findingOn(outcome, isDoubtful(outcome.check))));
  print("");
  // For people on call, it is not the first day.
  const firstDay = isOurs(scene.login) ? undefined : onFirstDay(outcomes);
  if (firstDay) print(`${linesOf(firstDayName, firstDay)}\n`);
  const mayNotCount = outcomes.some((outcome) => "error" in outcome && codeOf(outcome.error) === "42501");
  if (mayNotCount) {
    print(linesOf("rights", wrong(`${scene.login} may not read all of it`, "that it may", grant)));
  }
  for (const { name, finding } of doubts) {
    // Remedies are for roles that are not there yet.
    print(linesOf(name, isOurs(scene.login) ? finding : { ...finding, mark: "!", remedy: [] }));
  }
  print(
    doubts.length > 0
      ? "\nAnother schema? --schema <name>. Other names? A view. A status for which\n" +
          "nobody waits? --settled <status>. For each of them: docs/what-counts.md"
      : "Nothing makes these counts doubtful that can be seen from here.",
  );
  const isPrintedAsDoubt = ({ finding }: { finding: Finding }) => finding.mark === "!" || !isOurs(scene.login);
  const names = doubts.filter(isPrintedAsDoubt).map(({ name }) => name);
  if (firstDay) names.push(firstDayName);
  const isWrong = outcomes.some((outcome) => "error" in outcome) || !doubts.every(isPrintedAsDoubt);
  return { isWrong, doubts: names };
}

/** A count with its oldest row, and what it means. */
function findingOn(outcome: Outcome, isDoubtful: boolean): Finding {
  if ("error" in outcome) return { mark: "✗", found: `unknown: ${errorFields(outcome.error).reason}`, remedy: [] };
  return { mark: isDoubtful ? "!" : "✓", found: countOf(outcome), more: [`${outcome.check.help}.`], remedy: [] };
}

/** Says how many rows would fire on the first day, if the installation did not accept them. */
function onFirstDay(outcomes: Outcome[]): Finding | undefined {
  const firing = outcomes.flatMap((outcome) => ("overdue" in outcome && outcome.overdue > 0 ? [outcome] : []));
  if (firing.length === 0) return undefined;
  const counts = firing.map(({ check, overdue }) => `${overdue} of ${check.id}`).join(", ");
  return doubt(
    `overdue: ${counts}`,
    "no old rows",
    "the installation accepts them for 14 days, but none without a time: docs/first-day.md",
  );
}
