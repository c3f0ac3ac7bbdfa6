import { parseArgs } from "node:util";
import { checks } from "../lib/checks.ts";
import type { Database } from "../lib/database.ts";
import { deadline, orAbort } from "../lib/deadline.ts";
import { SecretsError } from "../lib/secrets.ts";
import { loadSettings, type Settings } from "../lib/settings.ts";
import { compareTotals, lookAtPersistence, lookAtStandby } from "./compare-totals.ts";
import { firstLook } from "./first-look.ts";
import { tryPush } from "./gateway-checkup.ts";
import {
  type Ask,
  lookAtCheck,
  lookAtCounts,
  lookAtServer,
  lookAtTables,
  orRemedy,
  Problem,
  statements,
} from "./ledger-checkup.ts";
import {
  lookAtLogin,
  lookAtReading,
  lookAtRights,
  lookAtSettings,
  lookAtTls,
  lookAtTotals,
  reach,
} from "./session-checkup.ts";

// npm run doctor: looks, with the functions' own settings and code, for everything that would keep them from working.
// Prints one line each. What it writes to the database, it takes back.
const usage = `usage: npm run doctor [-- sampler | receiver] [--settled <status>,<status>]
       npm run doctor -- sampler --sql
       npm run doctor -- postgres://… [--schema <name>]

  postgres:// counts on a ledger where nothing is installed yet: reads it, and
              changes nothing. The password may be in PGPASSWORD instead
  --schema    the ledger's schema, where the login's search_path does not lead
              to it
  --settled   statuses that are settled: nobody waits for such rows
  --sql       prints the sampler's statements, to paste into psql
  -h, --help  prints this`;

const { role, settled, printsSql, schema } = readArguments();
if (printsSql) {
  console.log(statements());
  process.exit();
}
if (isUrl(role)) {
  process.exit((await firstLook(role, schema, settled)) ? 0 : 1);
}
const databaseTimeoutMs = 20_000;
const functions = { sampler: role !== "receiver", receiver: role !== "sampler" };

function isUrl(role: string): boolean {
  return /^postgres(ql)?:/.test(role);
}

function readArguments(): { role: string; settled: string[]; printsSql: boolean; schema: string | undefined } {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        sql: { type: "boolean", default: false },
        settled: { type: "string", multiple: true, default: [] },
        schema: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit();
    }
    const [role = "both", ...more] = positionals;
    const roles = values.sql ? ["sampler"] : ["both", "sampler", "receiver"];
    const settled = values.settled.flatMap((text) => text.split(","));
    const isKnown = roles.includes(role) && !values.schema;
    const { sql: printsSql, schema } = values;
    if ((isKnown || (isUrl(role) && !printsSql)) && more.length === 0) return { role, settled, printsSql, schema };
  } catch {}
  console.error(usage);
  process.exit(2);
}

/**
 * Prints one line about what a step found: its fact, or its Problem, which is an `!` when it is a doubt. Resolves to
 * its result; to null after a doubt, and to undefined after any other Problem.
 */
async function step<T>(name: string, look: () => Promise<[T, string]>): Promise<T | null | undefined> {
  try {
    const [result, fact] = await look();
    console.log(`✓ ${name.padEnd(28)} ${fact}`);
    return result;
  } catch (error) {
    const { message, remedy = "run it again", isDoubt = false } = error as Problem;
    console.log(`${isDoubt ? "!" : "✗"} ${name.padEnd(28)} ${message}\n  ${" ".repeat(28)} → ${remedy}`);
    if (isDoubt) return null;
    process.exitCode = 1;
    return undefined;
  }
}

const loading = loadSettings(functions.receiver ? "receiver" : "sampler");
const secretProblem = await loading.then(
  () => undefined,
  (error) => (error instanceof SecretsError ? error : undefined),
);
if (process.env.SECRET_ID) {
  await step("secret", async () => {
    if (secretProblem) {
      throw new Problem(
        secretProblem.message,
        "check its name, the region, and your AWS credentials: aws sts get-caller-identity. Running functions use " +
          'the last good secret meanwhile, and log "secrets not read again"',
      );
    }
    return [true, `${process.env.SECRET_ID} is readable`];
  });
}
const settings = secretProblem
  ? undefined
  : await step("settings", async () => [await orRemedy(loading, "see docs/settings.md"), "valid"]);

if (settings) {
  const target = settings.database;
  const databaseDeadline = deadline("Postgres", databaseTimeoutMs);
  const findDatabase = async (fresh: boolean) => (fresh ? (await loadSettings("sampler", { fresh })).database : target);
  const database = await step("Postgres", () => reach(target, findDatabase, databaseDeadline));
  if (database) {
    await step("TLS", () => lookAtTls(target));
    await lookThrough(database, settings, databaseDeadline);
    await database.close();
  }
  if ((await step("Pushgateway", () => tryPush(settings.pushgateway, settings.stage))) !== undefined) {
    await step("Pushgateway's memory", () => lookAtPersistence(settings));
  }
}

/** Asks Postgres. The first step that is late is the last. */
async function lookThrough(database: Database, settings: Settings, databaseDeadline: AbortSignal): Promise<void> {
  const ask: Ask = async (name, look) => {
    if (databaseDeadline.aborted) return undefined;
    const late = new Problem(
      `Postgres has not answered within ${databaseTimeoutMs / 1000} s`,
      "look for locks and for load there, and whether the network drops idle connections; then run it again",
    );
    return step(name, () =>
      orAbort(look(), databaseDeadline).catch((error) => {
        throw databaseDeadline.aborted ? late : error;
      }),
    );
  };
  // With the login of somebody else, every remedy would be for the wrong role.
  if (!(await ask("login", () => lookAtLogin(database, functions)))) return;
  await ask("role's settings", () => lookAtSettings(database, functions));
  if (functions.sampler) await ask("ways to read", () => lookAtReading(database));
  await ask("rights", () => lookAtRights(database, functions));
  if (functions.sampler) {
    await ask("server", () => lookAtServer(database));
    await lookAtTables(database, settled, ask);
    for (const check of checks) await ask(`check ${check.id}`, () => lookAtCheck(database, check));
    await ask("counts", () => lookAtCounts(database, databaseDeadline));
  }
  if (await ask("totals", () => lookAtTotals(database, functions))) {
    await ask("totals on the gateway", () => compareTotals(database, settings));
  }
  await ask("standby", () => lookAtStandby(database));
}
