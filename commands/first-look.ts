import { checks, type Outcome, runChecks } from "../lib/checks.ts";
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
  findingOf,
  orRemedy,
  type Print,
  Problem,
  type Scene,
  tables,
  takeLooks,
  timesOf,
} from "./look.ts";
import { ledgerLooks } from "./looks.ts";
import { columnsRead, missingRights, tableNamed } from "./rights.ts";
import { quoted } from "./sql.ts";

const questionSeconds = 10;
const totalTimeoutMs = 60_000;

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
  try {
    return (await lookAt(url, schema, settled, print)) ? 0 : 1;
  } catch (error) {
    const { fact, remedy } = findingOf(error);
    print(wrapped(fact, "✗"));
    print(wrapped(remedy, "→"));
    return 1;
  }
}

const passwordRemedy =
  "write the characters / # ? % @ of a password as %2F %23 %3F %25 %40; or leave the password out of the URL, " +
  "and set PGPASSWORD";

async function lookAt(url: string, schema: string | undefined, settled: string[], print: Print): Promise<boolean> {
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
    throw codeOf(error) === "28P01" ? new Problem(problem.message, `check them; ${passwordRemedy}`) : problem;
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
    return await orAbort(look(scene, print), limit);
  } finally {
    await database.close();
  }
}

/** Counts, takes the looks that need no role of roles.sql, and prints both, by table. */
async function look(scene: Scene, print: Print): Promise<boolean> {
  const { ask } = scene;
  const outcomes = new Map<string, Outcome>();
  for (const check of checks) {
    // One after the other: each may take as long as the server is given.
    for (const outcome of await runChecks(ask, [check])) outcomes.set(check.id, outcome);
  }
  const doubts = new Map<string, Finding>();
  for await (const [{ name }, finding] of takeLooks(ledgerLooks, scene)) {
    if (finding.mark !== "✓") doubts.set(name, finding);
  }
  /** Remedies are for roles that are not there yet. */
  const printDoubt = (name: string) => {
    const doubt = doubts.get(name);
    if (doubt) print(wrapped(`${name.replace(/^(table|check) /, "")}: ${doubt.fact}`, "!"));
  };

  printDoubt("server");
  let isKnown = [...outcomes.values()].every((outcome) => "count" in outcome);
  for (const table of tables) {
    const ofTable = [`table ${table}`, `status of ${table}`, ...timesOf(table).map(() => `time of ${table}`)];
    for (const { id } of checksOf(table)) {
      const outcome = outcomes.get(id) as Outcome;
      const isDoubtful = [`check ${id}`, ...ofTable].some((name) => doubts.has(name));
      print(countOf(outcome, isDoubtful));
      if ("count" in outcome) printDoubt(`check ${id}`);
    }
    for (const name of ofTable) printDoubt(name);
    const bridge = await bridgeOf(ask, table);
    if (bridge) {
      print(bridge);
      isKnown = false;
    }
    print("");
  }
  const { username } = scene.settings.database;
  for (const grant of await missingRights(ask, username, ["veza_ledger_sampler"])) print(wrapped(grant, "→"));
  printDoubt("indexes");
  print(
    doubts.size > 0
      ? "Another schema? --schema <name>. A status for which nobody waits?\n" +
          "--settled <status>. What each doubt means: docs/what-counts.md"
      : "Nothing makes these counts doubtful that can be seen from here.",
  );
  return isKnown;
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

/**
 * Where a table lacks columns that the checks read: its columns next to them, and the view that bridges them. Otherwise
 * undefined.
 */
async function bridgeOf(ask: Ask, table: string): Promise<string | undefined> {
  const [row] = await ask(`
    select jsonb_agg(attname order by attnum) as found,
      (select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where pg_class.oid = attrelid) as name
    from pg_attribute where attrelid = ${tableNamed(`'${table}'`)} and attnum > 0 and not attisdropped
    group by attrelid`);
  if (!row) return undefined; // There is no such table, which has been said.
  const expected = await columnsRead(table);
  const has = (column: string) => row.found.includes(column);
  if (expected.every(has)) return undefined;
  const others = row.found.filter((column: string) => !expected.includes(column)).join(", ");
  const pairs = [
    ["the checks read", "the table has"],
    ...expected.map((column) => [column, has(column) ? column : "-"]),
  ];
  const selected = expected.map((column) => (has(column) ? column : `<column> as ${column}`));
  const indent = " ".repeat(12);
  return [
    wrapped(`${table} has other columns than the checks read:`, "!"),
    ...[...pairs, ["-", others]].map(([left = "", right]) => `${indent}${left.padEnd(24)} ${right}`),
    wrapped("bridge them by a view, and look again with --schema veza_ledger_views:", "→"),
    `${indent}create schema if not exists veza_ledger_views;`,
    `${indent}create view veza_ledger_views.${table} as`,
    `${indent}  select ${selected.join(`,\n${indent}    `)}`,
    `${indent}  from ${row.name};`,
  ].join("\n");
}

/** A text below a count, in lines for a terminal of 80 columns. */
function wrapped(text: string, mark = ""): string {
  const lines = text.match(/.{1,69}(?: |$)|\S+/g) ?? [];
  return lines.map((line, index) => `${(index === 0 ? mark : "").padStart(8)}  ${line.trimEnd()}`).join("\n");
}
