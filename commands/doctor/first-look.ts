import type { checks, Outcome } from "../../lib/checks.ts";
import { codeOf } from "../../lib/database.ts";
import { deadline, orAbort } from "../../lib/deadline.ts";
import { errorFields } from "../../lib/log.ts";
import { parseDatabaseUrl, type Settings } from "../../lib/settings.ts";
import { type Finding, findingOf, orRemedy, type Step, wrong } from "../finding.ts";
import { logIn } from "../log-in.ts";
import { isOurs, tables } from "../plan/rights.ts";
import { linesOf, type Print } from "../print.ts";
import { sqlName } from "../quote.ts";
import { countNow, countOf } from "./counts.ts";
import { type Scene, type Session, takeLooks } from "./look.ts";
import { looks } from "./looks.ts";
import { askBriefly, readingLogin } from "./session.ts";

const questionSeconds = 10;
const totalTimeoutMs = 60_000;

/** Grants what the looks read: the tables, and the schema unless it is `public`, which all may use by default. */
function grantTo(login: string, schema = "public"): Step {
  const names = tables.map((table) => `${sqlName(schema)}.${table}`).join(", ");
  const usage = `grant usage on schema ${sqlName(schema)} to ${sqlName(login)}; `;
  return { as: "a superuser", sql: `${schema === "public" ? "" : usage}grant select on ${names} to ${sqlName(login)}` };
}

/**
 * Counts on a ledger where nothing of this service is installed. Prints the counts, their oldest rows, and what makes
 * them doubtful; or why it cannot, with the remedy. Resolves to the exit code.
 */
export async function firstLook(
  url: string,
  schema: string | undefined,
  settled: string[],
  print: Print,
): Promise<number> {
  let scene: (Scene & Session) | undefined;
  try {
    const target = await orRemedy(
      Promise.try(() => parseDatabaseUrl(url)),
      "leave the password out of the URL, and set PGPASSWORD",
    );
    print(
      `Reads ${target.database} on ${target.host} as ${target.username}.\n` +
        `Read-only transactions, at most ${questionSeconds} s a question, 0.5 s for a lock. Nothing is\n` +
        "written, nothing stays set on the session, and nothing is sent anywhere else.\n",
    );
    const limit = deadline("Postgres", totalTimeoutMs);
    const database = await logIn(target, "veza-ledger-first-look", limit);
    // First of all: other questions may run functions of the application.
    const login = await readingLogin(
      database,
      limit,
      "look as a login that may no more than read, such as this, with a password of yours:",
      { as: "a superuser", sql: "create role ledger_reader login connection limit 3 password 'NEW'" },
      grantTo("ledger_reader", schema),
    );
    const given = { timezone: "UTC", ...(schema && { search_path: `${sqlName(schema)}, public` }) };
    // Each question has its own deadline: a server that went away is noticed with the next one.
    const ask: Session["ask"] = (question, seconds = questionSeconds) =>
      askBriefly(database, deadline("Postgres", (questionSeconds + 2) * 1_000), given)(question, seconds);
    const settings = { database: target } as Settings;
    const functions = { sampler: true, receiver: false };
    scene = { functions, settled, settings, database, login, version: "", ask };
    return await orAbort(look(scene, print, limit, grantTo(login, schema)), limit);
  } catch (error) {
    print(linesOf("Postgres", findingOf(error)));
    return 1;
  } finally {
    await scene?.database.close();
  }
}

/** Prints the counts, and below them what the looks that need no role of this service find doubtful. */
async function look(scene: Scene & Session, print: Print, limit: AbortSignal, grant: Step): Promise<number> {
  const outcomes = await countNow(scene.ask);
  const doubts: [string, Finding][] = [];
  const first = looks.filter(({ isFirst }) => isFirst);
  for await (const [name, finding] of takeLooks(first, scene, limit)) {
    if (finding.mark !== "✓") doubts.push([name, finding]);
  }
  if (scene.database.lost.aborted) throw new Error("the connection to Postgres was lost");

  const isDoubtful = ({ id, table }: (typeof checks)[number]) =>
    doubts.some(([name]) => name === `check ${id}` || name.split(" ").at(-1) === table);
  for (const outcome of outcomes) print(linesOf(outcome.check.id, findingOn(outcome, isDoubtful(outcome.check))));
  print("");
  const isRefused = outcomes.some((outcome) => "error" in outcome && codeOf(outcome.error) === "42501");
  if (isRefused || doubts.some(([, { found }]) => found.includes("may not use"))) {
    print(linesOf("rights", wrong(`${scene.login} may not read all of it`, "that it may", grant)));
  }
  for (const [name, finding] of doubts) {
    // Remedies are for roles that are not there yet.
    print(linesOf(name, isOurs(scene.login) ? finding : { ...finding, mark: "!", remedy: [] }));
  }
  print(
    doubts.length > 0
      ? "\nAnother schema? --schema <name>. Other names? A view. A status for which\n" +
          "nobody waits? --settled <status>. For each of them: docs/what-counts.md"
      : "Nothing makes these counts doubtful that can be seen from here.",
  );
  return outcomes.every((outcome) => "count" in outcome) ? 0 : 1;
}

/** A count with its oldest row, and what it means. */
function findingOn(outcome: Outcome, isDoubtful: boolean): Finding {
  if ("error" in outcome) return { mark: "✗", found: `unknown: ${errorFields(outcome.error).reason}`, remedy: [] };
  const meaning = `${outcome.check.help.split(";")[0]}.`;
  return { mark: isDoubtful ? "!" : "✓", found: countOf(outcome), more: [meaning], remedy: [] };
}
