// The service's settings: made from the names, with the password and the secret that are kept. Two programs read their
// file, systemd and Node, and people.
import { isDeepStrictEqual, parseEnv } from "node:util";
import { parseDatabaseUrl, parseSettings, SettingsError, settingNames } from "../../lib/settings/parse.ts";
import { type Named, newPassword, newWebhookSecret, passwordOfUrl, settingsFrom, shown } from "../settings.ts";
import { Stop } from "./files.ts";

export const settingsFile = "/etc/veza-ledger-metrics.env";
/** What is to be tried. The service never reads it: it takes this file's place when the service starts with it. */
export const nextFile = `${settingsFile}.next`;

/** The names that settings are made of. */
export interface NamedOfHost extends Named {
  ca: string;
  port: string;
}

export type Texts = Record<string, string>;

/** The settings that the names decide: all but these. */
const ofNames = settingNames.filter((name) => name !== "WEBHOOK_SECRET" && name !== "CA_CERTIFICATES");

const header = `# ./setup writes this file from /etc/veza-ledger-metrics.yml: change that one.
# The password in DATABASE_URL and WEBHOOK_SECRET are kept as they are here: docs/rotation.md changes them.
`;

/** Whether a text can stand in quotes that systemd and Node read alike. */
export const isQuotable = (text: string): boolean => !text.includes("'") || !/["\\]/.test(text);

/** The lines of a file of settings. Those that are empty are left out. */
export function linesOf(settings: Texts): string {
  const quote = (text: string) => (text.includes("'") ? `"${text}"` : `'${text}'`);
  const lines = Object.entries(settings).map(([name, text]) => (text ? `${name}=${quote(text)}\n` : ""));
  return header + lines.join("");
}

/** The settings in such a file's text. */
export const settingsIn = (text: string): Texts => parseEnv(text) as Texts;

/**
 * All settings, as the names have them, and what changes with them: a sentence for each. `kept` has the settings of
 * this host so far, whose password and secret stay, and what the names know nothing of, such as HOST. Throws a Stop
 * where they cannot be kept.
 */
export function settingsOf(names: NamedOfHost, kept: Texts): { settings: Texts; changes: string[] } {
  const { DATABASE_URL: was } = kept;
  const secrets = {
    login: "veza_ledger",
    password: was ? passwordOf(kept) : newPassword(),
    webhookSecret: kept.WEBHOOK_SECRET || newWebhookSecret(),
  };
  const named = settingsFrom(names, secrets);
  // The same password may be encoded in another way.
  if (was && isDeepStrictEqual(parseDatabaseUrl(was), parseDatabaseUrl(named.DATABASE_URL ?? ""))) {
    named.DATABASE_URL = was;
  }
  const all = { ...kept, ...Object.fromEntries(ofNames.map((name) => [name, ""])), ...named };
  const settings: Texts = { ...all, NODE_EXTRA_CA_CERTS: names.ca, PORT: names.port };
  try {
    parseSettings(settings, "receiver");
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    throw new Stop(`${settingsFile}: ${error.message}. Correct it there.`);
  }
  const changes = Object.entries(settings)
    .filter(([name, text]) => (kept[name] ?? "") !== text)
    .map(([name, text]) => `${name}: ${shown(name, kept[name])} → ${shown(name, text)}`);
  return { settings, changes };
}

/** The service's password in its settings, as Postgres knows it. Throws a Stop. */
export function passwordOf({ DATABASE_URL = "" }: Texts): string {
  try {
    const password = passwordOfUrl(DATABASE_URL);
    if (password && parseDatabaseUrl(DATABASE_URL).username === "veza_ledger") return password;
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
  }
  throw new Stop(
    `DATABASE_URL in ${settingsFile} has to be postgres://veza_ledger:PASSWORD@HOST:5432/DATABASE. Correct it there.`,
  );
}
