import { parseArgs } from "node:util";
import { Gauge, Registry } from "prom-client";
import { checks } from "../lib/checks.ts";
import type { Database } from "../lib/database.ts";
import { deadline, orAbort } from "../lib/deadline.ts";
import { groupUrl, push } from "../lib/pushgateway.ts";
import { SecretsError } from "../lib/secrets.ts";
import { isLocalHost, loadSettings, type Settings } from "../lib/settings.ts";
import { compareTotals, lookAtPersistence, lookAtStandby } from "./compare-totals.ts";
import { connect } from "./connect.ts";
import { lookAtCheck, lookAtServer, lookAtTable, lookAtTime, orRemedy, Problem, statements } from "./ledger-checkup.ts";

// npm run doctor [-- sampler | receiver]: looks for everything that would keep the functions from working, with their own
// settings and code, and prints a line for each look. Changes nothing in the database.
// npm run doctor -- sampler --sql: prints the sampler's statements.
const { role, printsSql } = readArguments();
if (printsSql) {
  console.log(statements());
  process.exit();
}
const databaseTimeoutMs = 20_000;
const forSampler = role !== "receiver";
const forReceiver = role !== "sampler";

function readArguments(): { role: string; printsSql: boolean } {
  try {
    const { positionals, values } = parseArgs({ allowPositionals: true, options: { sql: { type: "boolean" } } });
    const [role = "both", ...more] = positionals;
    const { sql: printsSql = false } = values;
    const roles = printsSql ? ["sampler"] : ["both", "sampler", "receiver"];
    if (roles.includes(role) && more.length === 0) return { role, printsSql };
  } catch {}
  console.error("usage: npm run doctor [-- sampler | receiver | sampler --sql]");
  process.exit(2);
}

/**
 * Prints one line about a step: its fact, or its Problem, with `!` for a doubt and ✗ for everything else. Resolves to the
 * step's result, if it has one.
 */
async function step<T>(name: string, look: () => Promise<[T, string]>): Promise<T | undefined> {
  try {
    const [result, fact] = await look();
    console.log(`✓ ${name.padEnd(28)} ${fact}`);
    return result;
  } catch (error) {
    const { message, remedy, isDoubt } = error as Problem;
    console.log(`${isDoubt ? "!" : "✗"} ${name.padEnd(28)} ${message}\n  ${" ".repeat(28)} → ${remedy}`);
    if (!isDoubt) process.exitCode = 1;
    return undefined;
  }
}

const loading = loadSettings(forReceiver ? "receiver" : "sampler");
const secretProblem = await loading.then(
  () => undefined,
  (error) => (error instanceof SecretsError ? error : undefined),
);
if (process.env.SECRET_ID) {
  await step("secret", async () => {
    if (secretProblem) {
      throw new Problem(
        secretProblem.message,
        "check its name, the region, and your AWS credentials: aws sts get-caller-identity. Functions that run use the " +
          'last ones meanwhile, and log "secrets not read again"',
      );
    }
    return [true, `${process.env.SECRET_ID} is readable`];
  });
}
const settings = secretProblem
  ? undefined
  : await step("settings", async () => [await orRemedy(loading, "see docs/settings.md"), "valid"]);

if (settings) {
  const databaseDeadline = deadline("Postgres", databaseTimeoutMs);
  const database = await step("Postgres", () => reach(settings, databaseDeadline));
  if (database) {
    /** A step that asks Postgres. After the first late step there are no more. */
    const ask = async (name: string, look: () => Promise<[unknown, string]>) => {
      if (databaseDeadline.aborted) return undefined;
      const late = new Problem(
        `Postgres has not answered within ${databaseTimeoutMs / 1000} s`,
        "look for locks and for load there, and whether the network drops idle connections; then run it again",
      );
      return await step(name, () =>
        orAbort(look(), databaseDeadline).catch((error) => {
          throw databaseDeadline.aborted ? late : error;
        }),
      );
    };
    await step("TLS", () => lookAtTls(settings));
    await ask("role's settings", () => lookAtSettings(database));
    if (forSampler) {
      await ask("server", () => lookAtServer(database));
      for (const [table, ofTable] of Map.groupBy(checks, ({ table }) => table)) {
        await ask(`table ${table}`, () => lookAtTable(database, table));
        for (const time of new Set(ofTable.map(({ time }) => time))) {
          await ask(`time of ${table}`, () => lookAtTime(database, table, time));
        }
      }
      for (const check of checks) await ask(`check ${check.id}`, () => lookAtCheck(database, check));
    }
    if (await ask("totals", () => lookAtTotals(database))) {
      await ask("totals on the gateway", () => compareTotals(database, settings));
    }
    await ask("standby", () => lookAtStandby(database));
    await database.close();
  }
  if (await step("Pushgateway", () => tryPush(settings))) {
    await step("Pushgateway's memory", () => lookAtPersistence(settings));
  }
}

async function reach({ database: target }: Settings, deadline: AbortSignal): Promise<[Database, string]> {
  let remedy = "check host, port and password, and the network's way there (security groups, VPC)";
  const connecting = connect(
    async (fresh) => (fresh ? (await loadSettings("sampler", { fresh })).database : target),
    "veza-ledger-doctor",
    deadline,
  );
  await connecting.catch(({ code }) => {
    if (/CERT|UNABLE_TO/.test(String(code))) remedy = "put its certificate authority into CA_CERTIFICATES";
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

async function lookAtSettings({ sql }: Database): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql`select session_user as login, current_setting('statement_timeout') as statement_timeout,
      current_setting('lock_timeout') as lock_timeout,
      current_setting('idle_in_transaction_session_timeout') as idle_in_transaction_session_timeout,
      current_setting('idle_session_timeout', true) as idle_session_timeout,
      current_setting('row_security') as row_security,
      current_setting('default_transaction_isolation') as default_transaction_isolation`,
    "run it again",
  );
  const unset: Record<string, string> = {
    statement_timeout: "0",
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    ...(forSampler && { row_security: "on" }),
    ...(forReceiver && { idle_session_timeout: "0" }),
  };
  const missing = Object.keys(unset).filter((name) => row?.[name] === unset[name]);
  if (row?.default_transaction_isolation !== "read committed") missing.push("default_transaction_isolation");
  if (missing.length > 0) {
    throw new Problem(
      `${row?.login} has no ${missing.join(", ")}`,
      /^veza_ledger/.test(row?.login)
        ? "run config/postgres/roles.sql (again, for a _clone that AWS' rotation has made)"
        : "use a login of config/postgres/roles.sql: a member of its roles inherits no settings",
    );
  }
  return [true, `statement ${row?.statement_timeout}, lock ${row?.lock_timeout}`];
}

async function lookAtTotals({ sql }: Database): Promise<[true, string]> {
  const remedy = "npm run migrate, then config/postgres/roles.sql";
  const [row] = await orRemedy(
    sql`select
      has_table_privilege('ledger_metrics.totals', 'select') as readable,
      has_table_privilege('ledger_metrics.totals', 'insert')
      and has_column_privilege('ledger_metrics.totals', 'value', 'update')
      and has_column_privilege('ledger_metrics.totals', 'ahead', 'update')
      and has_table_privilege('ledger_metrics.deliveries', 'select')
      and has_table_privilege('ledger_metrics.deliveries', 'insert')
      and has_column_privilege('ledger_metrics.deliveries', 'attempts', 'update')
      and has_table_privilege('ledger_metrics.deliveries', 'delete') as writable,
      has_schema_privilege('ledger_metrics', 'usage') as usable,
      pg_is_in_recovery() as is_replica, current_setting('synchronous_commit') = 'off' as forgets`,
    remedy,
  );
  if (row?.is_replica) throw new Problem("not published from a replica", "name the primary in DATABASE_URL");
  if (!row?.usable || !row.readable) throw new Problem("the role may not read ledger_metrics", remedy);
  if (forReceiver && !row.writable) throw new Problem("the role may not write to ledger_metrics", remedy);
  if (forReceiver && row.forgets) {
    throw new Problem(
      "a crash of Postgres would lose what was answered (synchronous_commit is off)",
      "run config/postgres/roles.sql",
    );
  }
  return [true, forReceiver ? "ledger_metrics is there, and writable" : "ledger_metrics is there, and readable"];
}

async function tryPush({ pushgateway, stage }: Settings): Promise<[true, string]> {
  const group = { job: "veza_ledger_doctor", stage };
  const registry = new Registry();
  new Gauge({ name: "veza_ledger_doctor", help: "A trial push; deleted at once.", registers: [registry] }).set(1);
  const remedy = "check PUSHGATEWAY_URL, its credentials, and the network's way there";
  await orRemedy(push(pushgateway, group, await registry.metrics(), deadline("the Pushgateway", 3_000)), remedy);
  const deleted = await fetch(groupUrl(pushgateway, group), {
    method: "DELETE",
    headers: pushgateway.authorization ? { authorization: pushgateway.authorization } : {},
    redirect: "error",
    signal: AbortSignal.timeout(3_000),
  }).catch(() => undefined);
  return [true, deleted?.ok ? "accepts a push" : "accepts a push; veza_ledger_doctor could not be deleted again"];
}
