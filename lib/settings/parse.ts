// Unlike decodeURIComponent, unescape leaves a stray % as it is.
import { unescape as decode } from "node:querystring";
import type { PushgatewayTarget } from "../gateway/pushgateway.ts";
import { certificatesIn } from "./certificates.ts";
import { type Ledger, parseLedger } from "./ledger.ts";
import { isStage, stageRule } from "./stage.ts";

/** Where Postgres is, and how to log in. `tls: "unverified"` encrypts without looking at the certificate. */
export interface DatabaseTarget {
  host: string;
  port: number;
  database: string;
  username: string;
  /** `undefined`: each connection logs in with an IAM token of its own. */
  password: string | undefined;
  tls: "verified" | "unverified" | "off";
  ledger: Ledger;
}

export interface Settings {
  database: DatabaseTarget;
  pushgateway: PushgatewayTarget;
  /** Receiver only; empty for the sampler. */
  webhookSecrets: string[];
  stage: string | undefined;
  /** Of authorities that this process trusts in addition to its own, in PEM. */
  certificates: string[];
}

/** Settings are missing or wrong. The message names each of them, and never shows a value. */
export class SettingsError extends Error {}

export type FunctionName = "sampler" | "receiver";

export const settingNames = [
  "DATABASE_URL",
  "LEDGER_SCHEMA",
  "LEDGER_TIMEZONE",
  "PUSHGATEWAY_URL",
  "PUSHGATEWAY_TOKEN",
  "WEBHOOK_SECRET",
  "STAGE",
  "CA_CERTIFICATES",
] as const;
/** The keys that AWS documents for a secret of RDS. They stand in for DATABASE_URL where there is none. */
type RdsKey = "host" | "port" | "username" | "password" | "dbname";
/** What is read. A setting that is not among the names does not compile. */
export type SettingTexts = { [Name in (typeof settingNames)[number] | RdsKey]?: string | undefined };

/** Parses and validates settings, given as texts by name. Throws a SettingsError with all problems at once. */
export function parseSettings(texts: SettingTexts, functionName: FunctionName): Settings {
  const problems: string[] = [];
  const database = parseDatabase(texts, problems);
  const pushgateway = parsePushgateway(texts, problems);
  const webhookSecrets = functionName === "receiver" ? parseWebhookSecrets(texts, problems) : [];
  const certificates = certificatesIn(texts.CA_CERTIFICATES ?? "");
  if (!certificates) {
    problems.push("CA_CERTIFICATES must be certificates in PEM, each from -----BEGIN to -----END CERTIFICATE-----");
  }
  if (texts.STAGE && !isStage(texts.STAGE)) problems.push(`STAGE ${stageRule}`);
  if (texts.STAGE === "drill") problems.push("STAGE is drill, which is the stage of the drill: use another name");
  if (problems.length > 0 || !database || !pushgateway || !certificates) throw new SettingsError(problems.join("; "));
  return { database, pushgateway, webhookSecrets, stage: texts.STAGE || undefined, certificates };
}

/** Parses a connection string by the rules of DATABASE_URL. Throws a SettingsError. */
export function parseDatabaseUrl(text: string): DatabaseTarget {
  const problems: string[] = [];
  const target = parseDatabase({ DATABASE_URL: text }, problems);
  if (!target || problems.length > 0) throw new SettingsError(problems.join("; "));
  return target;
}

/** Parses DATABASE_URL or, without it, the keys of a secret of RDS. Undefined only with a problem. */
function parseDatabase(texts: SettingTexts, problems: string[]): DatabaseTarget | undefined {
  const missing = (["host", "username", "password", "dbname"] as const).filter((key) => !texts[key]);
  if (!texts.DATABASE_URL && missing.length > 0) {
    problems.push(`DATABASE_URL is missing${missing.length < 4 ? `, and ${missing.join(", ")} in the secret` : ""}`);
    return undefined;
  }
  const { username = "", password = "", host, port = 5432, dbname = "" } = texts;
  // A secret of RDS becomes the URL that it stands for, so that one set of rules below holds for both.
  const [user, key, name] = [username, password, dbname].map(encodeURIComponent);
  const url = URL.parse(texts.DATABASE_URL || `postgres://${user}:${key}@${host}:${port}/${name}`);
  const isComplete = url?.username && url.hostname && url.pathname.length > 1;
  if (!isComplete || !/^postgres(ql)?:$/.test(url.protocol)) {
    problems.push("DATABASE_URL must be like postgres://user:password@host:5432/database, with a single host");
    return undefined;
  }
  if ([...url.searchParams.keys()].some((parameter) => parameter !== "sslmode")) {
    problems.push("DATABASE_URL: sslmode is the only parameter allowed");
  }
  const tls = parseSslmode(url, problems);
  const { AWS_REGION, PGPASSWORD = "" } = process.env;
  const ownPassword = decode(url.password) || PGPASSWORD; // Unlike a command line, ps shows no environment.
  const usesIam = !ownPassword && !isLocalHost(url.hostname) && Boolean(AWS_REGION);
  if (usesIam && tls === "off") {
    problems.push("DATABASE_URL has no password: on AWS it logs in by IAM, which needs TLS, so sslmode=verify-full");
  }
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port || 5432),
    database: decode(url.pathname.slice(1)),
    username: decode(url.username),
    password: usesIam ? undefined : ownPassword,
    tls,
    ledger: parseLedger(texts, problems),
  };
}

/** Reads sslmode as libpq does, except for the default: `verify-full`, or `disable` for a server on this machine. */
function parseSslmode(url: URL, problems: string[]): DatabaseTarget["tls"] {
  const sslmode = url.searchParams.get("sslmode") ?? (isLocalHost(url.hostname) ? "disable" : "verify-full");
  const tls = { disable: "off", require: "unverified", "verify-ca": "verified", "verify-full": "verified" } as const;
  const isKnown = Object.hasOwn(tls, sslmode);
  if (!isKnown) problems.push(`DATABASE_URL: sslmode must be one of ${Object.keys(tls).join(", ")}`);
  return tls[sslmode as keyof typeof tls];
}

/** Whether a host name, with or without the brackets of a URL, certainly means this machine. */
export const isLocalHost = (host: string): boolean => /^(localhost|127(\.\d+){3}|::1|\[::1\])$/.test(host);

/** Undefined only with a problem. */
export function parsePushgateway(texts: SettingTexts, problems: string[]): PushgatewayTarget | undefined {
  const { PUSHGATEWAY_URL: text, PUSHGATEWAY_TOKEN: token } = texts;
  const url = text ? URL.parse(text) : null;
  if (!url || !/^https?:$/.test(url.protocol)) {
    problems.push(text ? "PUSHGATEWAY_URL must be an http or https URL" : "PUSHGATEWAY_URL is missing");
    return undefined;
  }
  if (url.search || url.hash) problems.push("PUSHGATEWAY_URL must not have a query or a fragment");
  if (url.password && !url.username) problems.push("PUSHGATEWAY_URL has a password and no user: user:password@");
  if (url.username && token)
    problems.push("PUSHGATEWAY_URL has a user, and PUSHGATEWAY_TOKEN is set: write one of them");
  if (/[^\x21-\x7e]/.test(token ?? "")) problems.push("PUSHGATEWAY_TOKEN must be printable ASCII without spaces");
  const credentials = Buffer.from(`${decode(url.username)}:${decode(url.password)}`).toString("base64");
  const authorization = url.username ? `Basic ${credentials}` : token && `Bearer ${token}`;
  return { url: url.origin + url.pathname.replace(/\/+$/, ""), ...(authorization && { headers: { authorization } }) };
}

export function parseWebhookSecrets(texts: SettingTexts, problems: string[]): string[] {
  const secrets = (texts.WEBHOOK_SECRET ?? "").split(/\s+/).filter(Boolean);
  if (secrets.length === 0) problems.push("WEBHOOK_SECRET is missing");
  if (!secrets.every(isWebhookSecret)) {
    problems.push("WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64; several are separated by spaces");
  }
  return secrets;
}

/** Standard Webhooks requires 24 to 64 random bytes. */
function isWebhookSecret(secret: string): boolean {
  const [, key = ""] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret) ?? [];
  const { length } = Buffer.from(key, "base64");
  return key.length % 4 === 0 && length >= 24 && length <= 64;
}
