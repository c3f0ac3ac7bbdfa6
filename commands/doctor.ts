import { checks } from "../lib/checks.ts";
import { oldestRowsOf } from "../lib/counted-rows.ts";
import type { Database } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { takeSample } from "../lib/sample.ts";
import { beginReading, searchPath } from "../lib/transaction.ts";
import { command, Misuse, start } from "./command.ts";
import { firstLook } from "./doctor/first-look.ts";
import { postgresTimeoutMs, type Scene, takeLooks } from "./doctor/look.ts";
import { gatewayLooks, looks } from "./doctor/looks.ts";
import { ledgerOf, openSession, readSettings } from "./doctor/session.ts";
import { type Finding, findingOf, type Verdict, well } from "./finding.ts";
import { linesOf, type Print } from "./print.ts";

// npm run doctor: looks for everything that would keep the functions from working, with their own settings and code.
// Prints a finding for each look. What it writes to the database, it takes back.
const usage = `usage: npm run doctor [-- sampler | receiver] [--settled <status>,<status>] [--strict]
       npm run doctor -- sampler --sql
       npm run doctor -- postgres://… [--schema <name>,<name>]

  Exit code 0: nothing is wrong (✗). 1: something is, or is unknown

  postgres:// counts on a ledger where nothing is installed yet: reads it, and
              changes nothing. The password may be in PGPASSWORD instead
  --schema    the ledger's schemas, where it is not public: LEDGER_SCHEMA of the
              functions, which counts without this. So does LEDGER_TIMEZONE
  --settled   statuses that are settled: nobody waits for such rows
  --strict    exit code 3 where nothing is wrong and something is doubtful (!)
  --known     with --strict: doubts that somebody has settled, by the names in
              their lines, such as --known "time of orders"
  --sql       prints the statements of a tick, to paste into psql
  -h, --help  prints this`;

const options = {
  sql: { type: "boolean", default: false },
  settled: { type: "string", multiple: true, default: [] as string[] },
  strict: { type: "boolean", default: false },
  known: { type: "string", multiple: true, default: [] as string[] },
  schema: { type: "string" },
} as const;

/** Looks at what the settings name, or counts on the ledger behind a URL. */
export const run = command(usage, options, async (values, [role = "both", ...more], { log }) => {
  const { sql, schema, strict } = values;
  const listed = (given: string[]) => given.flatMap((text) => text.split(","));
  const [settled, known] = [listed(values.settled), listed(values.known)];
  const isUrl = /^postgres(ql)?:/.test(role);
  if (more.length > 0 || (sql && role !== "sampler") || (schema !== undefined && !isUrl) || (sql && strict)) {
    throw new Misuse("these do not go together");
  }
  if (known.length > 0 && !strict) throw new Misuse("--known is for --strict");
  const strange = known.find((name) => ![...looks, ...gatewayLooks].some((look) => look.name === name));
  if (strange) throw new Misuse(`--known: there is no look of this name: ${strange}`);
  if (!isUrl && !/^(both|sampler|receiver)$/.test(role)) throw new Misuse(`not understood: ${role}`);
  if (sql) {
    log(await statements());
    return 0;
  }
  const functions = { sampler: role !== "receiver", receiver: role !== "sampler" };
  const findings = isUrl ? firstLook(role, schema, settled, log) : examine(functions, settled, log);
  const { isWrong, doubts } = await findings;
  if (isWrong) return 1;
  return strict && doubts.some((name) => !known.includes(name)) ? 3 : 0;
});

/** Takes all looks, and prints what each has found. */
async function examine(functions: Scene["functions"], settled: string[], print: Print): Promise<Verdict> {
  const verdict: Verdict = { isWrong: false, doubts: [] };
  const say = (name: string, finding: Finding) => {
    print(linesOf(name, finding));
    if (finding.mark === "✗") verdict.isWrong = true;
    if (finding.mark === "!") verdict.doubts.push(name);
  };
  const settings = await readSettings(functions).catch((error) => say("settings", findingOf(error)));
  if (!settings) return verdict;
  say("settings", well("valid"));

  const scene = { functions, settled, settings };
  const limit = deadline("Postgres", postgresTimeoutMs);
  const session = await openSession(settings, limit).catch((error) => say("Postgres", findingOf(error)));
  if (session) {
    say("Postgres", well(`${session.version} on ${settings.database.host}, as ${session.login}`));
    for await (const [{ name }, finding] of takeLooks(looks, { ...scene, ...session }, limit)) say(name, finding);
    await session.database.close();
  }
  for await (const [{ name }, finding] of takeLooks(gatewayLooks, scene)) say(name, finding);
  return verdict;
}

/** Every statement of a tick, to paste into psql: a tick whose session notes them instead of asking. */
async function statements(): Promise<string> {
  const ledger = ledgerOf(process.env);
  const { schemas, timeZone } = ledger;
  const begin = beginReading(ledger);
  const asked = [
    "-- Ask as the sampler's login: its rights decide what it sees. The outbox may be elsewhere.\n" +
      `set search_path = ${searchPath(schemas)};\nset timezone = '${timeZone}';\nset row_security = off;`,
  ];
  const witness = { schemas, now: Date.now() / 1000, hasAmounts: true, hasAccepted: true, hasOutbox: true };
  const unsafe = async (question: string) => {
    asked.push(`${question.replace(begin, "")};`);
    return asked.length === 2 ? [[witness]] : [checks.map(({ id }) => ({ check: id, ids: 1, until: 1 }))];
  };
  const close = async () => {};
  const database = { sql: { unsafe }, ledger, lost: new AbortController().signal, close } as unknown as Database;
  await takeSample({ use: (work) => work(database), close }, deadline("a tick", postgresTimeoutMs));
  return [...asked, ...checks.map((check) => `${oldestRowsOf(check, true)};`)].join("\n\n");
}

if (import.meta.main) await start(run);
