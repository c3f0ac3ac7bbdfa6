import { checks, type Outcome } from "../lib/checks.ts";
import { deadline, orAbort } from "../lib/deadline.ts";
import { isPasswordRefused } from "../lib/last-good-login.ts";
import { errorFields } from "../lib/log.ts";
import { type Ask, askOn } from "../lib/question.ts";
import { parseDatabaseUrl, type Settings } from "../lib/settings.ts";
import { connect } from "./connect.ts";
import { loginProblem } from "./login-problem.ts";
import {
  ago,
  carefully,
  type Finding,
  findingOf,
  orRemedy,
  type Print,
  Problem,
  type Scene,
  tables,
  takeLooks,
} from "./look.ts";
import { looks } from "./looks.ts";
import { quoted } from "./sql.ts";

const questionSeconds = 10;
const totalTimeoutMs = 60_000;

const passwordRemedy =
  "write the characters / # ? % @ of a password as %2F %23 %3F %25 %40; or leave the password out of the URL, " +
  "and set PGPASSWORD";

/**
 * Counts on a ledger where nothing of this service is installed. Prints how it reads, the counts, their oldest rows,
 * and what makes them doubtful; or why it cannot, with the remedy. Resolves to the exit code.
 */
export async function firstLook(
  url: string,
  schema: string | undefined,
  settled: string[],
  print: Print,
): Promise<number> {
  let scene: Scene | undefined;
  try {
    const target = await orRemedy(
      Promise.try(() => parseDatabaseUrl(url)),
      passwordRemedy,
    );
    print(
      `Reads ${target.database} on ${target.host} as ${target.username}.\n` +
        `Read-only transactions, at most ${questionSeconds} s a question, 0.5 s for a lock. Nothing is\n` +
        "written, nothing stays set on the session, and nothing is sent anywhere else.\n",
    );
    const limit = deadline("Postgres", totalTimeoutMs);
    const database = await connect(async () => target, "veza-ledger-first-look", limit).catch((error) => {
      const problem = loginProblem(error, target, "the URL");
      throw isPasswordRefused(error) ? new Problem(problem.message, `check them; ${passwordRemedy}`) : problem;
    });
    const settings = {
      ...carefully,
      statement_timeout: `${questionSeconds}s`,
      lock_timeout: "500ms",
      timezone: "UTC",
      ...(schema && { search_path: `${quoted(schema)}, public` }),
    };
    // A server that went away is noticed with the next question.
    const ask: Ask = (question) =>
      askOn(database, deadline("Postgres", (questionSeconds + 2) * 1_000), settings)(question);
    scene = {
      functions: { sampler: true, receiver: false },
      settled,
      settings: { database: target } as Settings,
      database,
      login: target.username,
      ask,
      count: ask,
      outcomes: [],
      isClockRight: true,
      limit,
    };
    return await orAbort(look(scene, print), limit);
  } catch (error) {
    const { fact, remedy } = findingOf(error);
    print(wrapped(fact, "✗"));
    print(wrapped(remedy, "→"));
    return 1;
  } finally {
    await scene?.database.close();
  }
}

/** Takes the looks that need no role of roles.sql, and prints what they find, by table, below the counts. */
async function look(scene: Scene, print: Print): Promise<number> {
  const doubts = new Map<string, Finding>();
  const first = looks.filter(({ isFirst }) => isFirst);
  for await (const [{ name }, finding] of takeLooks(first, scene)) {
    if (finding.mark !== "✓") doubts.set(name, finding);
  }
  const { outcomes } = scene;
  // Without Postgres they are not complete, and the last look says why.
  if (outcomes.length < checks.length) throw new Error([...doubts.values()].at(-1)?.fact);

  const printDoubt = (name: string) => {
    const { fact, remedy = "" } = doubts.get(name) ?? {};
    if (!fact) return;
    print(wrapped(`${name.replace(/^(table|check) /, "")}: ${fact}`, "!"));
    // Other remedies are for roles that are not there yet.
    if (!/^(columns|rights)/.test(name)) return;
    for (const step of remedy.split(/; (?=as )|: (?=create )/)) {
      const isSql = step.startsWith("create ");
      print(wrapped(step, isSql ? "" : "→")); // To be pasted.
    }
  };
  printDoubt("server");
  for (const table of tables) {
    const ofTable = ["table", "columns of", "status of", "time of"].map((what) => `${what} ${table}`);
    for (const outcome of outcomes.filter(({ check }) => check.table === table)) {
      const name = `check ${outcome.check.id}`;
      const isDoubtful = [name, ...ofTable].some((each) => doubts.has(each));
      print(countOf(outcome, isDoubtful));
      if ("count" in outcome) printDoubt(name);
    }
    for (const name of ofTable) printDoubt(name);
    print("");
  }
  printDoubt("rights");
  printDoubt("indexes");
  print(
    doubts.size > 0
      ? "Another schema? --schema <name>. A status for which nobody waits?\n" +
          "--settled <status>. What each doubt means: docs/what-counts.md"
      : "Nothing makes these counts doubtful that can be seen from here.",
  );
  return outcomes.every((outcome) => "count" in outcome) ? 0 : 1;
}

/** A count with its oldest row, and with a question mark where something makes it doubtful. */
function countOf(outcome: Outcome, isDoubtful: boolean): string {
  const { id, help } = outcome.check;
  const isKnown = "count" in outcome;
  const age = isKnown && outcome.oldestSeconds ? ago(Date.now() / 1000 - outcome.oldestSeconds) : undefined;
  const count = isKnown ? `${outcome.count}${isDoubtful ? " ?" : ""}` : "?";
  const meaning = isKnown ? `${help.split(";")[0]}.` : `Unknown: ${errorFields(outcome.error).reason}`;
  return `${count.padStart(8)}  ${id}${age ? `, the oldest ${age} old` : ""}\n${wrapped(meaning)}`;
}

/** A text below a count, in lines for a terminal of 80 columns. */
function wrapped(text: string, mark = ""): string {
  const lines = text.match(/.{1,69}(?: |$)|\S+/g) ?? [];
  return lines.map((line, index) => `${(index === 0 ? mark : "").padStart(8)}  ${line.trimEnd()}`).join("\n");
}
