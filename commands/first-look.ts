import { type Outcome, runChecks } from "../lib/checks.ts";
import { codeOf } from "../lib/database.ts";
import { deadline, orAbort } from "../lib/deadline.ts";
import { errorFields } from "../lib/log.ts";
import { type Ask, askOn } from "../lib/question.ts";
import { parseDatabaseUrl, type Settings } from "../lib/settings.ts";
import { connect } from "./connect.ts";
import { loginProblem } from "./login.ts";
import {
  ago,
  carefully,
  checksOf,
  type Finding,
  orRemedy,
  Problem,
  type Scene,
  tables,
  takeLooks,
  timesOf,
} from "./look.ts";
import { ledgerLooks } from "./looks.ts";
import { columnsRead, missingRights, tableNamed } from "./rights.ts";

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
      `Read-only transactions, at most ${questionSeconds} s a question, 0.5 s for a lock. Nothing is\n` +
      "written, nothing stays set on the session, and nothing is sent anywhere else.\n",
  );
  const limit = deadline("Postgres", totalTimeoutMs);
  const database = await connect(async () => target, "veza-ledger-first-look", limit).catch((error) => {
    const problem = loginProblem(error, target, "the URL");
    throw codeOf(error) === "28P01" ? new Problem(problem.message, `check them; ${passwordRemedy}`) : problem;
  });
  const settings = {
    ...carefully,
    statement_timeout: `${questionSeconds}s`,
    lock_timeout: "500ms",
    timezone: "UTC",
    ...(schema && { search_path: `"${schema.replaceAll('"', '""')}", public` }),
  };
  // A server that went away is noticed with the next question.
  const ask: Ask = (question) =>
    askOn(database, deadline("Postgres", (questionSeconds + 2) * 1_000), settings)(question);
  const functions = { sampler: true, receiver: false };
  const scene = {
    functions,
    settled,
    settings: { database: target } as Settings,
    database,
    ask,
    limit,
    isClockRight: true,
  };
  try {
    return await orAbort(look(scene), limit);
  } finally {
    await database.close();
  }
}

/** Counts, takes the looks that need no role of roles.sql, and prints both, by table. */
async function look(scene: Scene): Promise<boolean> {
  const { ask } = scene;
  const outcomes = new Map<string, Outcome>();
  for (const table of tables) {
    for (const check of checksOf(table)) {
      // One after the other: each may take as long as the server is given.
      for (const outcome of await runChecks(ask, [check])) outcomes.set(check.id, outcome);
    }
  }
  const doubts = new Map<string, Finding>();
  for await (const [{ name }, finding] of takeLooks(ledgerLooks, scene)) {
    if (finding.mark !== "✓") doubts.set(name, finding);
  }
  /** Remedies are for roles that are not there yet. */
  const printDoubt = (name: string) => {
    const doubt = doubts.get(name);
    if (doubt) print(`${name.replace(/^(table|check) /, "")}: ${doubt.fact}`, "!");
  };

  printDoubt("server");
  let isKnown = [...outcomes.values()].every((outcome) => "count" in outcome);
  for (const table of tables) {
    const ofTable = [`table ${table}`, `status of ${table}`, ...timesOf(table).map(() => `time of ${table}`)];
    for (const { id } of checksOf(table)) {
      const outcome = outcomes.get(id) as Outcome;
      printCount(
        outcome,
        [`check ${id}`, ...ofTable].some((name) => doubts.has(name)),
      );
      if ("count" in outcome) printDoubt(`check ${id}`);
    }
    for (const name of ofTable) printDoubt(name);
    if (!(await hasColumns(ask, table))) isKnown = false;
    console.log();
  }
  const { username } = scene.settings.database;
  for (const grant of await missingRights(ask, username, ["veza_ledger_sampler"]).catch(() => [])) print(grant, "→");
  printDoubt("indexes");
  console.log(
    doubts.size > 0
      ? "Another schema? --schema <name>. A status for which nobody waits?\n" +
          "--settled <status>. What each doubt means: docs/what-counts.md"
      : "Nothing makes these counts doubtful that can be seen from here.",
  );
  return isKnown;
}

/** Prints a count with its oldest row, and with a question mark where something makes it doubtful. */
function printCount(outcome: Outcome, isDoubtful: boolean): void {
  const { id, help } = outcome.check;
  const isKnown = "count" in outcome;
  const age = isKnown && outcome.oldestSeconds ? ago(Date.now() / 1000 - outcome.oldestSeconds) : undefined;
  const count = isKnown ? `${outcome.count}${isDoubtful ? " ?" : ""}` : "?";
  console.log(`${count.padStart(8)}  ${id}${age ? `, the oldest ${age} old` : ""}`);
  print(isKnown ? `${help.split(";")[0]}.` : `Unknown: ${errorFields(outcome.error).reason}`);
}

/**
 * Says whether a table has the columns that the checks read. Otherwise prints both side by side, and the view that
 * bridges them.
 */
async function hasColumns(ask: Ask, table: string): Promise<boolean> {
  const [row] = await ask(`
    select jsonb_agg(attname order by attnum) as found,
      (select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where pg_class.oid = attrelid) as name
    from pg_attribute where attrelid = ${tableNamed(table)} and attnum > 0 and not attisdropped group by attrelid`);
  if (!row) return true; // There is no such table, which has been said.
  const expected = await columnsRead(table);
  if (expected.every((column) => row.found.includes(column))) return true;
  const others = row.found.filter((column: string) => !expected.includes(column));
  const indent = " ".repeat(10);
  const lines = expected.map((column) => [column, row.found.includes(column) ? column : "-"]);
  console.log(`${"!".padStart(8)}  ${table} has other columns than the checks read:`);
  for (const [left = "", right] of [["the checks read", "the table has"], ...lines, ["-", others.join(", ")]]) {
    console.log(`${indent}  ${left.padEnd(24)} ${right}`);
  }
  const bridged = expected.map((column) => (row.found.includes(column) ? column : `<column> as ${column}`));
  console.log(`${"→".padStart(8)}  bridge them by a view, and look again with --schema veza_ledger_views:
${indent}  create schema if not exists veza_ledger_views;
${indent}  create view veza_ledger_views.${table} as
${indent}    select ${bridged.join(`,\n${indent}      `)}
${indent}    from ${row.name};`);
  return false;
}

/** Prints a text below a count, in lines for a terminal of 80 columns. */
function print(text: string, mark = ""): void {
  const lines = text.match(/.{1,69}(?: |$)|\S+/g) ?? [];
  for (const [index, line] of lines.entries())
    console.log(`${(index === 0 ? mark : "").padStart(8)}  ${line.trimEnd()}`);
}
