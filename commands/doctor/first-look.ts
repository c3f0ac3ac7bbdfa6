import type { Row } from "postgres";
import type { Check, Outcome } from "../../lib/checks.ts";
import { codeOf, type Database, type DatabaseTarget, withDeadline } from "../../lib/database.ts";
import { deadline, orAbort } from "../../lib/deadline.ts";
import { errorFields } from "../../lib/log.ts";
import { parseDatabaseUrl, type Settings } from "../../lib/settings.ts";
import { doubt, type Finding, findingOf, orRemedy, type Step, type Verdict, wrong } from "../finding.ts";
import { logIn } from "../log-in.ts";
import { linesOf, type Print } from "../print.ts";
import { sqlName } from "../quote.ts";
import { isOurs, tables } from "../rights.ts";
import { countNow, countOf } from "./counts.ts";
import { type Look, type Scene, type Session, takeLooks } from "./look.ts";
import { looks } from "./looks.ts";
import { askBriefly, ledgerOf, readingLogin, safeSettings } from "./session.ts";

const questionSeconds = 10;
const totalTimeoutMs = 60_000;

/** Grants what the looks read, where it is: the tables, and their schemas. */
function grantTo(login: string, places: Map<string, string>): Step {
  const schemas = [...new Set(places.values())].map(sqlName).join(", ");
  const names = [...places].map(([table, schema]) => `${sqlName(schema)}.${table}`).join(", ");
  const to = sqlName(login);
  return { as: "a superuser", sql: `grant usage on schema ${schemas} to ${to}; grant select on ${names} to ${to}` };
}

/** In which schema each table is, of those where it counts; without a table, the first of these. */
async function placesOf(database: Database, limit: AbortSignal): Promise<Map<string, string>> {
  const question = `${safeSettings} select relname as "table", nspname as schema
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relname = any (array[${tables.map((table) => `'${table}'`)}])`;
  const rows = (await withDeadline(database, limit, (sql) => sql.unsafe<Row[][]>(question))).at(-1) ?? [];
  const { schemas } = database.ledger;
  const isThere = (table: string, schema: string) => rows.some((row) => row.table === table && row.schema === schema);
  return new Map(tables.map((table) => [table, schemas.find((schema) => isThere(table, schema)) ?? schemas[0] ?? ""]));
}

/**
 * Counts on a ledger where nothing of this service is installed. Prints the counts, their oldest rows, and what makes
 * them doubtful; or why it cannot, with the remedy.
 */
export async function firstLook(
  url: string,
  schema: string | undefined,
  settled: string[],
  print: Print,
): Promise<Verdict> {
  let scene: (Scene & Session) | undefined;
  try {
    const named = await orRemedy(
      Promise.try(() => parseDatabaseUrl(url)),
      "leave the password out of the URL, and set PGPASSWORD",
    );
    const ledger = await orRemedy(
      Promise.try(() => ledgerOf({ ...process.env, ...(schema !== undefined && { LEDGER_SCHEMA: schema }) })),
      "name its schemas by --schema, as they are in the catalogue, without quotes",
    );
    const target: DatabaseTarget = { ...named, ledger };
    print(
      `Reads ${target.database} on ${target.host} as ${target.username}.\n` +
        `Read-only transactions, at most ${questionSeconds} s a question, 0.5 s for a lock. Nothing is\n` +
        "written, nothing stays set on the session, and nothing is sent anywhere else.\n",
    );
    const limit = deadline("Postgres", totalTimeoutMs);
    const database = await logIn(target, "veza-ledger-first-look", limit);
    const places = await placesOf(database, limit);
    // Before any question that may run functions of the application.
    const login = await readingLogin(
      database,
      limit,
      "look as a login that may no more than read, such as this, with a password of yours:",
      { as: "a superuser", sql: "create role ledger_reader login connection limit 3 password 'NEW'" },
      grantTo("ledger_reader", places),
    );
    // Each question has its own deadline: a server that went away is noticed with the next one.
    const ask: Session["ask"] = (question, seconds = questionSeconds) =>
      askBriefly(database, deadline("Postgres", (questionSeconds + 2) * 1_000))(question, seconds);
    const settings = { database: target } as Settings;
    const functions = { sampler: true, receiver: false };
    scene = { functions, settled, settings, database, login, version: "", ask };
    return await orAbort(look(scene, print, limit, grantTo(login, places)), limit);
  } catch (error) {
    print(linesOf("Postgres", findingOf(error)));
    return { isWrong: true, doubts: [] };
  } finally {
    await scene?.database.close();
  }
}

/**
 * SQL: accepts what a check counts at this time, as its backlog. The interval is the check's threshold: what is younger
 * does not count yet.
 */
function backlogOf({ id, staleAfter = "0 minutes" }: Check, at: string): string {
  const upTo = `'${at}'::timestamptz - interval '${staleAfter}'`;
  const insert = `insert into ledger_metrics.accepted ("check", up_to, until, why)`;
  return `begin read write; ${insert} values ('${id}', ${upTo}, now() + interval '90 days', 'WHY'); commit`;
}

/** Says how many rows would fire on the first day, with what accepts them, a statement for each check. */
async function onFirstDay(ask: Session["ask"], outcomes: Outcome[]): Promise<Finding | undefined> {
  const firing = outcomes.flatMap((outcome) => ("overdue" in outcome && outcome.overdue > 0 ? [outcome] : []));
  if (firing.length === 0) return undefined;
  const [row] = await ask(`select to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at`);
  const counts = firing.map(({ check, overdue }) => `${overdue} of ${check.id}`).join(", ");
  const steps = firing.map(({ check }) => ({ as: "veza_ledger_oncall", sql: backlogOf(check, row?.at) }));
  const close = "before the rules are loaded, close what can be closed: docs/first-day.md. Then accept the rest:";
  return doubt(`these rows would fire: ${counts}`, "new rows alone", close, ...steps);
}

/** Prints the counts, and below them what the looks that need no role of this service find doubtful. */
async function look(scene: Scene & Session, print: Print, limit: AbortSignal, grant: Step): Promise<Verdict> {
  const outcomes = await countNow(scene.ask);
  const doubts: [Look, Finding][] = [];
  const first = looks.filter(({ isFirst }) => isFirst);
  for await (const [taken, finding] of takeLooks(first, scene, limit)) {
    if (finding.mark !== "✓") doubts.push([taken, finding]);
  }
  if (scene.database.lost.aborted) throw new Error("the connection to Postgres was lost");

  const isDoubtful = ({ id, table }: Check) =>
    doubts.some(([taken]) => taken.check === id || (taken.table !== undefined && taken.table === table));
  for (const outcome of outcomes) print(linesOf(outcome.check.id, findingOn(outcome, isDoubtful(outcome.check))));
  print("");
  // People on call run this in the middle of an incident, whose rows nobody should accept.
  const firstDay = isOurs(scene.login) ? undefined : await onFirstDay(scene.ask, outcomes);
  if (firstDay) print(`${linesOf("the first day", firstDay)}\n`);
  const mayNotRead = outcomes.some((outcome) => "error" in outcome && codeOf(outcome.error) === "42501");
  if (mayNotRead || doubts.some(([, { isRefused }]) => isRefused)) {
    print(linesOf("rights", wrong(`${scene.login} may not read all of it`, "that it may", grant)));
  }
  for (const [{ name }, finding] of doubts) {
    // Remedies are for roles that are not there yet.
    print(linesOf(name, isOurs(scene.login) ? finding : { ...finding, mark: "!", remedy: [] }));
  }
  print(
    doubts.length > 0
      ? "\nAnother schema? --schema <name>,<name>. Other names? A view. A status for which\n" +
          "nobody waits? --settled <status>. For each of them: docs/what-counts.md"
      : "Nothing makes these counts doubtful that can be seen from here.",
  );
  return { isWrong: outcomes.some((outcome) => "error" in outcome), doubts: doubts.map(([{ name }]) => name) };
}

/** A count with its oldest row, and what it means. */
function findingOn(outcome: Outcome, isDoubtful: boolean): Finding {
  if ("error" in outcome) return { mark: "✗", found: `unknown: ${errorFields(outcome.error).reason}`, remedy: [] };
  const meaning = `${outcome.check.help.split(";")[0]}.`;
  return { mark: isDoubtful ? "!" : "✓", found: countOf(outcome), more: [meaning], remedy: [] };
}
