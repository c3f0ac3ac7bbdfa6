// What each name has to be. A set-up takes those that it has, and adds its own. What a setting is made of is refused by
// the settings' own parsers, with their message.
import { readFileSync } from "node:fs";
import tls from "node:tls";
import { certificatesIn } from "../lib/settings/certificates.ts";
import { parseLedger } from "../lib/settings/ledger.ts";
import { parseDatabaseUrl, parsePushgateway, type SettingTexts } from "../lib/settings/parse.ts";
import { isStage, stageRule } from "../lib/settings/stage.ts";

export type Texts = Record<string, string>;

/** A kind of names. */
export interface Kind {
  /** What a person is to write. */
  words: string;
  /** What is wrong with a text that is not empty, behind its name; undefined if nothing is. `all` has all names. */
  problem(text: string, all: Texts): string | undefined;
}

/** A kind by what its texts match. */
export const matching = (words: string, fits: RegExp | ((text: string, all: Texts) => boolean)): Kind => ({
  words,
  problem: (text, all) =>
    (fits instanceof RegExp ? fits.test(text) : fits(text, all)) ? undefined : `is of the wrong kind: write ${words}`,
});

/** A kind by the settings' parser, which adds to `problems` what it refuses. */
const parsed = (
  own: string,
  words: string,
  parse: (text: string, all: Texts, problems: string[]) => unknown,
): Kind => ({
  words,
  problem(text, all) {
    const problems: string[] = [];
    parse(text, all, problems);
    return problems.length > 0 ? problems.map((message) => inNames(own, message)).join("; ") : undefined;
  },
});

/** A parser's message about a setting, about the name instead, behind which it stands. */
function inNames(own: string, message: string): string {
  const ofName = {
    DATABASE_URL: "database",
    LEDGER_SCHEMA: "schema",
    LEDGER_TIMEZONE: "timezone",
    PUSHGATEWAY_URL: "gateway",
    PUSHGATEWAY_TOKEN: "token",
  };
  let words = message;
  for (const [setting, name] of Object.entries(ofName)) words = words.replaceAll(setting, name);
  return words.replace(new RegExp(`^${own}:? `), "");
}

const isDatabase = (text: string) =>
  /^[^@/?#\s]+:\d+\/[^@/?#\s]+(\?[^@#\s]*)?$/.test(text) && URL.canParse(`postgres://${text}`);
const isUrl = (text: string) =>
  /^https?:\/\/[\p{L}\p{N}._~:/@%?=&+[\]-]+$/u.test(text) && URL.canParse(text) && !/\s/.test(text);

const url = matching("its URL, with https:// or http://", isUrl);
const login = matching("the login alone, without its password", /^[^:/?#&\s]+$/);
const database = "HOST:5432/DATABASE, without postgres:// and a login";

/** The names that both set-ups have, in as far as they need them. */
export const kinds = {
  region: matching("a region of AWS, such as eu-central-1", /^[a-z]{2}(-[a-z]+)+-\d$/),
  database: {
    words: database,
    problem(text) {
      if (!isDatabase(text)) return `is of the wrong kind: write ${database}`;
      try {
        parseDatabaseUrl(`postgres://login:password@${text}`);
        return undefined;
      } catch (error) {
        return inNames("database", (error as Error).message);
      }
    },
  },
  /** The authorities that have signed Postgres' certificate, and the gateway's. */
  ca: { words: "the path of a file with certificates in PEM", problem: (file) => authorityProblem(file) },
  schema: parsed("schema", "one schema, such as public", (LEDGER_SCHEMA, _all, problems) =>
    parseLedger({ LEDGER_SCHEMA }, problems),
  ),
  timezone: parsed("timezone", "a zone, such as UTC or Europe/Paris", (LEDGER_TIMEZONE, _all, problems) =>
    parseLedger({ LEDGER_TIMEZONE }, problems),
  ),
  reader: login,
  admin: login,
  stage: {
    words: "a name of letters, digits, _ and -",
    problem: (text) =>
      isStage(text) ? (text === "drill" ? "is drill, which docs/drill.md uses" : undefined) : stageRule,
  },
  gateway: parsed(
    "gateway",
    "the Pushgateway's URL, with https:// or http://",
    (PUSHGATEWAY_URL, { token }, problems) => problems.push(...aboutGateway("PUSHGATEWAY_URL", PUSHGATEWAY_URL, token)),
  ),
  token: parsed("token", "the gateway's bearer token, alone", (PUSHGATEWAY_TOKEN, _all, problems) =>
    problems.push(...aboutGateway("PUSHGATEWAY_TOKEN", "http://gateway", PUSHGATEWAY_TOKEN)),
  ),
  prometheus: url,
  alertmanager: url,
  repository: url,
  grafana: url,
  hyperswitch: url,
} as const satisfies Record<string, Kind>;

/** What the settings' parser says of one of the gateway's two settings. */
function aboutGateway(setting: string, url: string, token = ""): string[] {
  const problems: string[] = [];
  parsePushgateway({ PUSHGATEWAY_URL: url, PUSHGATEWAY_TOKEN: token } satisfies SettingTexts, problems);
  return problems.filter((message) => message.startsWith(setting));
}

/** What is wrong with a file of authorities, behind its name. */
export function authorityProblem(file: string): string | undefined {
  try {
    return certificatesIn(readFileSync(file, "utf8"))?.length ? undefined : "names a file without certificates in PEM";
  } catch {
    return "names no file that can be read: write its whole path, without ~";
  }
}

/**
 * From now on, this process trusts the authorities in a file, too. Called before any settings are loaded, it holds
 * beside theirs. Throws where the file cannot be read.
 */
export function trustAuthority(file: string): void {
  const authorities = certificatesIn(readFileSync(file, "utf8")) ?? [];
  tls.setDefaultCACertificates([...tls.getCACertificates("default"), ...authorities]);
}

/** The address of Postgres for a login, which may have any character. */
export const databaseUrl = (database: string, login: string, password = ""): string =>
  `postgres://${encodeURIComponent(login)}${password && `:${encodeURIComponent(password)}`}@${database}`;
