import type { DatabaseTarget } from "./database.ts";
import { deadline, orAbort } from "./deadline.ts";
import type { PushgatewayTarget } from "./pushgateway.ts";

export interface Settings {
  database: DatabaseTarget;
  pushgateway: PushgatewayTarget;
  /** Receiver only; empty for the sampler. */
  webhookSecrets: string[];
  stage: string | undefined;
}

/** Settings that are missing or wrong. The message names every one of them and holds none of their values. */
export class SettingsError extends Error {}

type Texts = Record<string, string | undefined>;

const settingNames = ["DATABASE_URL", "PUSHGATEWAY_URL", "PUSHGATEWAY_TOKEN", "WEBHOOK_SECRET", "STAGE"];
const secretsTimeoutMs = 2_000;
const secretsMaxAgeMs = 5 * 60_000;
let cachedSecrets: { ids: string; readAtMs: number; texts: Texts } | undefined;

/**
 * Reads and validates the settings of one of the two functions: from the environment, and what that lacks from the
 * Secrets Manager secrets that SECRET_ID names. Secrets are kept for 5 minutes, unless `fresh` asks for them now.
 * Throws SettingsError: all problems at once.
 */
export async function loadSettings(role: "sampler" | "receiver", { fresh = false } = {}): Promise<Settings> {
  const secrets = process.env.SECRET_ID ? await readSecrets(process.env.SECRET_ID, fresh) : {};
  const texts: Texts = { ...secrets };
  for (const name of settingNames) texts[name] = process.env[name] || texts[name];
  return parseSettings(texts, role);
}

/** The settings from their texts by name. Throws SettingsError. */
export function parseSettings(texts: Texts, role: "sampler" | "receiver"): Settings {
  const problems: string[] = [];
  const settings = {
    database: parseDatabase(texts, problems),
    pushgateway: parsePushgateway(texts, problems),
    webhookSecrets: role === "receiver" ? parseWebhookSecrets(texts, problems) : [],
    stage: texts.STAGE || undefined,
  };
  if (!/^[A-Za-z0-9_-]*$/.test(texts.STAGE ?? "")) problems.push("STAGE may hold letters, digits, _ and - only");
  if (problems.length > 0) throw new SettingsError(problems.join("; "));
  return settings as Settings;
}

function parseDatabase(texts: Texts, problems: string[]): DatabaseTarget | undefined {
  if (!texts.DATABASE_URL) return parseRdsSecret(texts, problems);
  const url = URL.parse(texts.DATABASE_URL);
  if (!url || !/^postgres(ql)?:$/.test(url.protocol) || !url.hostname) {
    problems.push("DATABASE_URL must be like postgres://user:password@host:5432/database, with a single host");
    return undefined;
  }
  const parameters = [...url.searchParams.keys()];
  if (parameters.some((name) => name !== "sslmode")) problems.push("DATABASE_URL: the only parameter may be sslmode");
  const tls = parseSslmode(url, problems);
  try {
    return {
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: Number(url.port || 5432),
      database: decodeURIComponent(url.pathname.slice(1)) || "postgres",
      username: decodeURIComponent(url.username) || "postgres",
      password: decodeURIComponent(url.password),
      tls,
    };
  } catch {
    problems.push("DATABASE_URL: a % in the user name, password or database has to be written as %25");
    return undefined;
  }
}

/** What libpq makes of sslmode, but for its default: verified, unless the server is on this machine. */
function parseSslmode(url: URL, problems: string[]): DatabaseTarget["tls"] {
  switch (url.searchParams.get("sslmode")) {
    case null:
      return isLocal(url.hostname) ? "off" : "verified";
    case "verify-full":
    case "verify-ca":
      return "verified";
    case "require":
      return "unverified";
    case "disable":
      return "off";
    default:
      problems.push("DATABASE_URL: sslmode must be one of disable, require, verify-ca, verify-full");
      return "verified";
  }
}

/** The secret that RDS keeps for a database user, with the keys that AWS documents. */
function parseRdsSecret(texts: Texts, problems: string[]): DatabaseTarget | undefined {
  const missing = ["host", "username", "password", "dbname"].filter((key) => !texts[key]);
  if (missing.length > 0) {
    problems.push(
      missing.length < 4
        ? `DATABASE_URL is missing, and so is ${missing.join(", ")} in the secret`
        : "DATABASE_URL is missing",
    );
    return undefined;
  }
  const port = Number(texts.port || 5432);
  if (!Number.isInteger(port)) problems.push("port in the secret must be a number");
  const { host = "", username = "", password = "", dbname = "" } = texts;
  return { host, port, database: dbname, username, password, tls: isLocal(host) ? "off" : "verified" };
}

function isLocal(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host);
}

function parsePushgateway(texts: Texts, problems: string[]): PushgatewayTarget | undefined {
  const { PUSHGATEWAY_URL: text, PUSHGATEWAY_TOKEN: token } = texts;
  const url = text ? URL.parse(text) : null;
  if (!url || !/^https?:$/.test(url.protocol)) {
    problems.push(text ? "PUSHGATEWAY_URL must be an http or https URL" : "PUSHGATEWAY_URL is missing");
    return undefined;
  }
  if (url.search || url.hash) problems.push("PUSHGATEWAY_URL must not have a query or a fragment");
  if (url.username && token) problems.push("PUSHGATEWAY_TOKEN and a user in PUSHGATEWAY_URL exclude each other");
  if (token && !/^[\x21-\x7e]+$/.test(token)) problems.push("PUSHGATEWAY_TOKEN must be printable ASCII without spaces");
  let authorization = token && `Bearer ${token}`;
  if (url.username) {
    try {
      const credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
      authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
    } catch {
      problems.push("PUSHGATEWAY_URL: a % in the user name or password has to be written as %25");
    }
  }
  return { url: url.origin + url.pathname.replace(/\/+$/, ""), ...(authorization && { authorization }) };
}

/** Standard Webhooks asks for 24 to 64 random bytes. */
function parseWebhookSecrets(texts: Texts, problems: string[]): string[] {
  const secrets = (texts.WEBHOOK_SECRET ?? "").split(/\s+/).filter(Boolean);
  if (secrets.length === 0) problems.push("WEBHOOK_SECRET is missing");
  for (const secret of secrets) {
    const [, key = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? [];
    const bytes = key.length % 4 === 0 ? Buffer.from(key, "base64").length : 0;
    if (bytes < 24 || bytes > 64) {
      problems.push("WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64; several are separated by spaces");
      break;
    }
  }
  return secrets;
}

async function readSecrets(ids: string, fresh: boolean): Promise<Texts> {
  if (!fresh && cachedSecrets?.ids === ids && Date.now() - cachedSecrets.readAtMs < secretsMaxAgeMs) {
    return cachedSecrets.texts;
  }
  // Loaded only when it is needed: the SDK is by far the largest part of the service.
  const { SecretsManagerClient, GetSecretValueCommand } = await import("@aws-sdk/client-secrets-manager");
  const client = new SecretsManagerClient({});
  const signal = deadline("Secrets Manager", secretsTimeoutMs);
  const read = async (id: string) => {
    try {
      const command = new GetSecretValueCommand({ SecretId: id });
      const answer = await orAbort(client.send(command, { abortSignal: signal }), signal);
      return secretTexts(answer.SecretString ?? "");
    } catch (error) {
      const { name, message } = error as Error;
      throw new SettingsError(
        `SECRET_ID: ${id} could not be read: ${error instanceof SettingsError || signal.aborted ? message : name}`,
      );
    }
  };
  try {
    const readAtMs = Date.now();
    const secrets = await Promise.all(ids.split(",").map((id) => read(id.trim())));
    cachedSecrets = { ids, readAtMs, texts: Object.assign({}, ...secrets) };
    return cachedSecrets.texts;
  } finally {
    client.destroy();
  }
}

function secretTexts(json: string): Texts {
  let values: unknown;
  try {
    values = JSON.parse(json);
  } catch {
    throw new SettingsError("it is not JSON");
  }
  if (typeof values !== "object" || values === null || Array.isArray(values))
    throw new SettingsError("it is not a JSON object");
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value ?? "")]));
}
