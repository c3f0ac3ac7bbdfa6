// The command doctor: looks for everything that would keep the functions from working, with their own settings and
// code. Prints a finding for each look. What it writes to the database, it takes back.
import { deadlineFor } from "../lib/deadline.ts";
import { callOf, command, Misuse, start } from "./command.ts";
import { countByUrl } from "./doctor/count-by-url.ts";
import { type Finding, findingOf, type Verdict, well } from "./doctor/finding.ts";
import { gatewayLooks, installationLooks, isLookName } from "./doctor/looks.ts";
import { openSession } from "./doctor/postgres.ts";
import { linesOf, type Print } from "./doctor/print.ts";
import type { Functions } from "./doctor/scene.ts";
import { readSettings, sourceOfSettings } from "./doctor/settings.ts";
import { statementsOfTick } from "./doctor/statements.ts";
import { takeAll } from "./doctor/take.ts";

const call = callOf("doctor");
const usage = `usage: ${call} [sampler | receiver] [--settled <status>,<status>]
              [--strict [--known <name>,<name>]]
       ${call} sampler --sql
       ${call} postgres://… [--schema <name>]

  Exit code 0: no line has a ✗. 1: a line has a ✗: wrong, or unknown

  postgres:// counts on a ledger where nothing is installed yet: reads it, and
              changes nothing. The password may be in PGPASSWORD instead
  --schema    the ledger's schema, where it is not public: LEDGER_SCHEMA of the
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

/** The limit of all looks on Postgres together. */
const postgresTimeoutMs = 20_000;

/** Looks at what the settings name, or counts on the ledger behind a URL. */
export const run = command(usage, options, async (values, [target = "both", ...more], { log }) => {
  const { sql, schema, strict } = values;
  const listed = (given: string[]) => given.flatMap((text) => text.split(","));
  const [settled, known] = [listed(values.settled), listed(values.known)];
  const isUrl = /^postgres(ql)?:/.test(target);
  if (more.length > 0 || (sql && target !== "sampler") || (schema !== undefined && !isUrl) || (sql && strict)) {
    throw new Misuse("these do not go together");
  }
  if (known.length > 0 && !strict) throw new Misuse("--known is for --strict");
  const strange = known.find((name) => !isLookName(name));
  if (strange !== undefined) throw new Misuse(`--known: there is no look of this name: ${strange}`);
  if (!isUrl && !/^(both|sampler|receiver)$/.test(target)) throw new Misuse(`not understood: ${target}`);
  if (sql) {
    log(await statementsOfTick());
    return 0;
  }
  const functions = { sampler: target !== "receiver", receiver: target !== "sampler" };
  const { isWrong, doubts } = isUrl
    ? await countByUrl(target, schema, settled, log)
    : await examine(functions, settled, log);
  if (isWrong) return 1;
  return strict && doubts.some((name) => !known.includes(name)) ? 3 : 0;
});

/** Takes all looks at an installation, and prints what each has found. */
async function examine(functions: Functions, settled: string[], print: Print): Promise<Verdict> {
  const [wrongs, doubts]: [string[], string[]] = [[], []];
  const say = (name: string, finding: Finding) => {
    print(linesOf(name, finding));
    if (finding.mark === "✗") wrongs.push(name);
    if (finding.mark === "!") doubts.push(name);
  };
  await lookAtAll(functions, settled, say);
  print(summary(wrongs, doubts));
  return { isWrong: wrongs.length > 0, doubts };
}

/** The last line: whether somebody who installs the service can go on. */
function summary(wrongs: string[], doubts: string[]): string {
  if (wrongs.length > 0) return `Wrong: ${wrongs.join(", ")}. Apply what the lines with → say, and look again.`;
  if (doubts.length > 0) return `Nothing is wrong. Doubtful: ${doubts.join(", ")}.`;
  return "Nothing is wrong.";
}

/** Looks at settings, Postgres and gateway, as far as each can be reached. */
async function lookAtAll(functions: Functions, settled: string[], say: (name: string, finding: Finding) => void) {
  const settings = await readSettings(functions).catch((error) => say("settings", findingOf(error)));
  if (!settings) return;
  say("settings", well(sourceOfSettings(process.env)));

  const signal = deadlineFor("Postgres", postgresTimeoutMs);
  const session = await openSession(settings, signal).catch((error) => say("Postgres", findingOf(error)));
  if (session) {
    const { version, pooler, database, login, ask } = session;
    const behind = pooler ? `, behind ${pooler}` : "";
    say("Postgres", well(`${version} on ${settings.database.host}${behind}, as ${login}`));
    const scene = { functions, settings, settled, database, login, ask };
    const limit = { database, signal, timeoutMs: postgresTimeoutMs };
    await takeAll(installationLooks, scene, say, limit);
    await database.close();
  }
  await takeAll(gatewayLooks, { functions, settings }, say);
}

if (import.meta.main) await start(run);
