// Makes the file of a stage, for ./setup and deploy/aws.sh, which have the names: this program, behind the addresses.
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { errorFields } from "../../lib/log.ts";
import { codeOf, open } from "../../lib/postgres/database.ts";
import { type Stage, targetOf } from "./stage.ts";
import { Refusal, type Terminal } from "./terminal.ts";

type Texts = Record<string, string | undefined>;

/** The stage that these settings describe. No password of theirs is in it. */
export function stageOf(texts: Texts): Stage {
  const { DATABASE_URL: database = "", PUSHGATEWAY_URL = "", PUSHGATEWAY_TOKEN } = texts;
  const withoutPassword = (url: string) => url.replace(/^([a-z]+:\/\/[^/@:]*):[^/]*@/, "$1@");
  const plain = (name: string) => (texts[name] ?? "").replace(/\/$/, "");
  // VictoriaMetrics takes pushes there, and has no groups that could be asked for or deleted.
  const gateway = PUSHGATEWAY_URL.includes("/api/v1/import/prometheus") ? "" : PUSHGATEWAY_URL.replace(/\/$/, "");
  if (!/^postgres(ql)?:\/\/veza_ledger_oncall@./.test(withoutPassword(database))) {
    throw new Refusal("DATABASE_URL has to be postgres://veza_ledger_oncall@HOST:5432/DATABASE");
  }
  const hasPassword = withoutPassword(gateway) !== gateway;
  return {
    name: texts.STAGE ?? "",
    awsRegion: texts.AWS_REGION ?? "",
    prometheus: plain("PROMETHEUS_URL"),
    alertmanager: plain("ALERTMANAGER_URL"),
    gateway: withoutPassword(gateway),
    gatewayAsks: hasPassword ? "password" : gateway && PUSHGATEWAY_TOKEN ? "token" : "",
    hyperswitch: plain("HYPERSWITCH_URL"),
    database: withoutPassword(database),
    sslMode: texts.PGSSLMODE || "verify-full",
    sslRootCert: texts.PGSSLROOTCERT ?? "",
    schema: texts.LEDGER_SCHEMA || "public",
    timeZone: texts.LEDGER_TIMEZONE || "UTC",
  };
}

/**
 * Writes the file with the addresses in the environment, and tries each. Its exit code is 1 if the file cannot be
 * written, which leaves an earlier one as it is, and 2 if an address does not answer, which may be right where people
 * on call work elsewhere.
 */
export async function writeStage([file]: string[], { print, say }: Terminal): Promise<number> {
  const program = process.argv[1] ?? "";
  if (!file || !program.endsWith(".mjs")) {
    say("This file has no addresses. Write that of your stage with ./setup oncall, or deploy/aws.sh oncall STAGE.");
    return 1;
  }
  let stage: Stage;
  try {
    stage = stageOf(process.env);
    const begin = `#!/usr/bin/env node\nglobalThis.stageOnCall = ${JSON.stringify(stage, null, 2)};\n`;
    await writeFile(`${file}.next`, begin + (await readFile(program, "utf8")), { mode: 0o755 });
    await rename(`${file}.next`, file);
  } catch (error) {
    await rm(`${file}.next`, { force: true }).catch(() => {});
    say(`Not written: ${file}. ${(error as Error).message}`);
    return 1;
  }
  print(`Written: ${file}`);
  const tried = await tryAll(stage);
  print(...tried);
  return tried.some((line) => line.startsWith("✗")) ? 2 : 0;
}

/** Tries the addresses as people on call use them, without a password of Postgres. */
async function tryAll(stage: Stage): Promise<string[]> {
  const { PUSHGATEWAY_URL = "", PUSHGATEWAY_TOKEN } = process.env;
  const { username, password } = URL.canParse(PUSHGATEWAY_URL) ? new URL(PUSHGATEWAY_URL) : {};
  const basic = Buffer.from(`${decodeURIComponent(username ?? "")}:${decodeURIComponent(password ?? "")}`);
  const authorization = PUSHGATEWAY_TOKEN ? `Bearer ${PUSHGATEWAY_TOKEN}` : `Basic ${basic.toString("base64")}`;
  const gateway = stage.gateway.replace(/\/\/[^@/]*@/, "//");
  return Promise.all([
    tryOne("Prometheus", stage.prometheus, "/-/ready"),
    tryOne("Alertmanager", stage.alertmanager, "/-/ready"),
    ...(PUSHGATEWAY_URL && !stage.gateway ? [] : [tryOne("The gateway", gateway, "/-/ready", { authorization })]),
    tryOne("Hyperswitch", stage.hyperswitch, "/health"),
    tryPostgres(stage),
  ]);
}

async function tryOne(what: string, url: string, path: string, headers: Record<string, string> = {}): Promise<string> {
  if (!url) return `! ${what} has no address: the commands that ask it will not work`;
  try {
    const answer = await fetch(url + path, { headers, signal: AbortSignal.timeout(10_000) });
    return answer.ok ? `✓ ${what} answers` : `✗ ${what} does not answer: ${answer.status}`;
  } catch (error) {
    const { cause } = error as Error;
    return `✗ ${what} does not answer: ${errorFields(cause ?? error).reason}`;
  }
}

async function tryPostgres(stage: Stage): Promise<string> {
  try {
    const { sql, close } = open(targetOf(stage, "veza_ledger_oncall", ""), "veza-ledger-oncall");
    await sql`select`.finally(close);
    return "✓ Postgres answers";
  } catch (error) {
    const asksForPassword = /^28/.test(codeOf(error)) || /password/.test((error as Error).message);
    return asksForPassword ? "✓ Postgres answers" : `✗ Postgres: ${errorFields(error).reason}`;
  }
}
