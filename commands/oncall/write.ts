// Makes the file of a stage for the set-ups, which have the names: the program, behind the addresses.
import { rename, rm, writeFile } from "node:fs/promises";
import { errorFields } from "../../lib/log.ts";
import { codeOf, open } from "../../lib/postgres/database.ts";
import { gatewayHeaders, gatewayUrl } from "./servers.ts";
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

/** The password or the token of the gateway in these settings, or undefined. */
export function gatewaySecretIn({ PUSHGATEWAY_URL = "", PUSHGATEWAY_TOKEN }: Texts): string | undefined {
  const { password } = URL.canParse(PUSHGATEWAY_URL) ? new URL(PUSHGATEWAY_URL) : {};
  return PUSHGATEWAY_TOKEN || (password && decodeURIComponent(password)) || undefined;
}

/**
 * Writes the file of a stage: the text of the bundled `program`, behind the stage. Rejects where it cannot be written,
 * and leaves an earlier file as it is.
 */
export async function writeStage(file: string, stage: Stage, program: string): Promise<void> {
  const begin = `#!/usr/bin/env node\nglobalThis.stageOnCall = ${JSON.stringify(stage, null, 2)};\n`;
  try {
    await writeFile(`${file}.next`, begin + program, { mode: 0o755 });
    await rename(`${file}.next`, file);
  } catch (error) {
    await rm(`${file}.next`, { force: true }).catch(() => {});
    throw error;
  }
}

/**
 * Writes the file of the stage that these settings describe, and tries each address. Its exit code is 1 if the file
 * cannot be written, and 2 if an address does not answer, which may be right where people on call work elsewhere.
 */
export async function writeAndTry(file: string, texts: Texts, program: string, { print, say }: Terminal) {
  let stage: Stage;
  try {
    stage = stageOf(texts);
    await writeStage(file, stage, program);
  } catch (error) {
    say(`Not written: ${file}. ${(error as Error).message}`);
    return 1;
  }
  print(`Written: ${file}`);
  const tried = await tryStage(stage, gatewaySecretIn(texts));
  print(...tried);
  return tried.some((line) => line.startsWith("✗")) ? 2 : 0;
}

/**
 * Tries the addresses as people on call use them, without a password of Postgres. Resolves to a line for each, which
 * begins with ✗ where nothing answers, and with ! where there is no address.
 */
export async function tryStage(stage: Stage, gatewaySecret?: string): Promise<string[]> {
  const ready = "/-/ready";
  return Promise.all([
    tryOne("Prometheus", stage.prometheus, ready),
    tryOne("Alertmanager", stage.alertmanager, ready),
    ...(stage.gateway ? [tryOne("The gateway", gatewayUrl(stage), ready, gatewayHeaders(stage, gatewaySecret))] : []),
    tryOne("Hyperswitch", stage.hyperswitch, "/health"),
    tryPostgres(stage),
  ]);
}

async function tryOne(what: string, url: string, path: string, headers = {}): Promise<string> {
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
