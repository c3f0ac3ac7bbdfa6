import { parseArgs } from "node:util";
import { Gauge, Registry } from "prom-client";
import { checks } from "../lib/checks.ts";
import { connect, type Database } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { reason } from "../lib/log.ts";
import { groupUrl, push } from "../lib/pushgateway.ts";
import { isLocalHost, loadSettings, type Settings } from "../lib/settings.ts";

// npm run doctor [-- sampler | receiver]: looks, with the functions' own settings and code, for whatever would keep them
// from working; one line each. Changes nothing in the database.
const { positionals } = parseArgs({ allowPositionals: true });
const [role = "both"] = positionals;
if (!/^(both|sampler|receiver)$/.test(role)) {
  console.error("usage: npm run doctor [-- sampler | receiver]");
  process.exit(2);
}
const forSampler = role !== "receiver";
const forReceiver = role !== "sampler";

/** What is wrong, and how to mend it. */
class Problem extends Error {
  readonly remedy: string;
  constructor(message: string, remedy: string) {
    super(message);
    this.remedy = remedy;
  }
}

/** Prints one line about what a step found: its fact, or its Problem. Resolves to its result, if it has one. */
async function step<T>(name: string, look: () => Promise<[T, string]>): Promise<T | undefined> {
  try {
    const [result, fact] = await look();
    console.log(`✓ ${name.padEnd(28)} ${fact}`);
    return result;
  } catch (error) {
    const { message, remedy } = error as Problem;
    console.log(`✗ ${name.padEnd(28)} ${message}\n  ${" ".repeat(28)} → ${remedy}`);
    process.exitCode = 1;
    return undefined;
  }
}

/** Turns any error of `work` into a Problem with this remedy. */
async function orRemedy<T>(work: PromiseLike<T>, remedy: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new Problem(reason(error).reason, remedy);
  }
}

const loading = loadSettings(forReceiver ? "receiver" : "sampler");
const secretProblem = await loading.then(
  () => undefined,
  (error: Error) => (error.message.startsWith("SECRET_ID") ? error : undefined),
);
if (process.env.SECRET_ID) {
  await step("secret", async () => {
    if (secretProblem) {
      throw new Problem(
        secretProblem.message,
        "check its name, the region, and your AWS credentials: aws sts get-caller-identity",
      );
    }
    return [true, `${process.env.SECRET_ID} is readable`];
  });
}
const settings = secretProblem
  ? undefined
  : await step("settings", async () => [await orRemedy(loading, "see the README, chapter Settings"), "valid"]);

if (settings) {
  const limit = deadline("Postgres", 30_000);
  const database = await step("Postgres", () => reach(settings, limit));
  if (database) {
    await step("TLS", () => lookAtTls(settings));
    await step("role's time-outs", () => lookAtTimeouts(database));
    if (forSampler) {
      for (const check of checks) await step(`check ${check.id}`, () => lookAtCheck(database, check));
    }
    await step("totals", () => lookAtTotals(database));
    await database.close();
  }
  await step("Pushgateway", () => tryPush(settings));
}

async function reach({ database: target }: Settings, limit: AbortSignal): Promise<[Database, string]> {
  let remedy = "check host, port and password, and the network's way there (security groups, VPC)";
  const connecting = connect(
    async (fresh) => (fresh ? (await loadSettings("sampler", { fresh })).database : target),
    "veza-ledger-doctor",
    limit,
  );
  await connecting.catch(({ code }) => {
    if (/CERT|UNABLE_TO/.test(String(code))) remedy = "NODE_EXTRA_CA_CERTS names a file with its certificate authority";
  });
  const database = await orRemedy(connecting, remedy);
  const [row] = await orRemedy(database.sql`select current_setting('server_version') as version`, remedy);
  return [database, `${row?.version} on ${target.host}, as ${target.username}`];
}

async function lookAtTls({ database: { tls, host } }: Settings): Promise<[true, string]> {
  if (tls === "verified") return [true, "certificate verified"];
  if (tls === "off" && isLocalHost(host)) return [true, "not needed on this machine"];
  throw new Problem(`the connection is ${tls === "off" ? "not encrypted" : "not verified"}`, "use sslmode=verify-full");
}

async function lookAtTimeouts({ sql }: Database): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql`select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock`,
    "run it again",
  );
  if (row?.statement === "0" || row?.lock === "0") {
    throw new Problem("statement_timeout or lock_timeout is not set", "run config/postgres/roles.sql");
  }
  return [true, `statement ${row?.statement}, lock ${row?.lock}`];
}

async function lookAtCheck({ sql }: Database, check: (typeof checks)[number]): Promise<[true, string]> {
  const remedies: Record<string, string> = {
    "42P01": "the table is missing: migrate the ledger, or mind the role's search_path",
    "42703": "the column is missing: migrate the ledger",
    "42501": "the role may not read it: run config/postgres/roles.sql",
  };
  const plan = await sql
    .begin("read only", async (transaction) => {
      // On a small table the planner reads all of it, whatever indexes there are. It is asked for its other choice.
      await transaction`set local enable_seqscan = off`;
      return await transaction.unsafe(`explain (format json) ${check.sql}`);
    })
    .catch((error) => {
      throw new Problem(reason(error).reason, remedies[error.code] ?? "paste the query from lib/checks.ts into psql");
    });
  if (/Seq Scan/.test(JSON.stringify(plan))) {
    throw new Problem("no index serves it: it reads the whole table every minute", "run config/postgres/indexes.sql");
  }
  return [true, "columns readable, an index serves it"];
}

async function lookAtTotals({ sql }: Database): Promise<[true, string]> {
  const remedy = "npm run migrate, then config/postgres/roles.sql";
  const [row] = await orRemedy(
    sql`select
      has_table_privilege('ledger_metrics.samples', 'select')
      and has_sequence_privilege('ledger_metrics.pushes', 'select') as readable,
      has_table_privilege('ledger_metrics.samples', 'insert') and has_column_privilege('ledger_metrics.samples', 'value', 'update')
      and has_table_privilege('ledger_metrics.deliveries', 'select')
      and has_table_privilege('ledger_metrics.deliveries', 'insert')
      and has_column_privilege('ledger_metrics.deliveries', 'attempts', 'update')
      and has_table_privilege('ledger_metrics.deliveries', 'delete')
      and has_sequence_privilege('ledger_metrics.pushes', 'usage') as writable,
      has_schema_privilege('ledger_metrics', 'usage') as usable,
      pg_is_in_recovery() as is_replica`,
    remedy,
  );
  if (row?.is_replica) throw new Problem("not published from a replica", "name the primary in DATABASE_URL");
  if (!row?.usable || !row.readable) throw new Problem("the role may not read ledger_metrics", remedy);
  if (forReceiver && !row.writable) throw new Problem("the role may not write to ledger_metrics", remedy);
  return [true, forReceiver ? "ledger_metrics is there, and writable" : "ledger_metrics is there, and readable"];
}

async function tryPush({ pushgateway, stage }: Settings): Promise<[true, string]> {
  const group = { job: "veza_ledger_doctor", stage };
  const registry = new Registry();
  new Gauge({ name: "veza_ledger_doctor", help: "A trial push; deleted at once.", registers: [registry] }).set(1);
  const remedy = "check PUSHGATEWAY_URL, its credentials, and the network's way there";
  await orRemedy(push(pushgateway, group, registry, deadline("push", 7_000)), remedy);
  const deleted = await fetch(groupUrl(pushgateway, group), {
    method: "DELETE",
    headers: pushgateway.authorization ? { authorization: pushgateway.authorization } : {},
    redirect: "error",
    signal: AbortSignal.timeout(3_000),
  }).catch(() => undefined);
  return [true, deleted?.ok ? "accepts a push" : "accepts a push; veza_ledger_doctor could not be deleted again"];
}
