// The settings of the service or of a function, made from names and from the secrets that are kept.
import { randomBytes } from "node:crypto";
import { parseDatabaseUrl, type settingNames } from "../lib/settings/parse.ts";
import { databaseUrl } from "./kinds.ts";

export type Settings = { [Name in (typeof settingNames)[number]]?: string };

/** The names that settings are made of. */
export interface Named {
  database: string;
  schema: string;
  timezone: string;
  gateway: string;
  token: string;
  stage: string;
}

/** A password of a login, which needs no encoding in a URL. */
export const newPassword = (): string => randomBytes(24).toString("hex");

export const newWebhookSecret = (): string => `whsec_${randomBytes(32).toString("base64")}`;

/**
 * The password in a DATABASE_URL, decoded as the functions decode it. Empty where the URL has none, whatever PGPASSWORD
 * says. Throws a SettingsError where this is no such URL.
 */
export function passwordOfUrl(url: string): string {
  const { password } = parseDatabaseUrl(url);
  return URL.parse(url)?.password ? (password ?? "") : "";
}

/** All settings of a stage. Those that are empty are left out. */
export function settingsFrom(
  { database, schema, timezone, gateway, token, stage }: Named,
  { login, password, webhookSecret }: { login: string; password: string; webhookSecret: string },
): Settings {
  const settings: Settings = {
    DATABASE_URL: databaseUrl(database, login, password),
    LEDGER_SCHEMA: schema,
    LEDGER_TIMEZONE: timezone,
    PUSHGATEWAY_URL: gateway,
    PUSHGATEWAY_TOKEN: token,
    WEBHOOK_SECRET: webhookSecret,
    STAGE: stage,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, text]) => text));
}

/** A setting for people: without a password or secret. */
export function shown(name: string, text = ""): string {
  if (!text) return "empty";
  if (/TOKEN|SECRET/.test(name)) return "…";
  return text.replace(/\/\/[^/]*@/, "//");
}
