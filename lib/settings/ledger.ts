/** Where the ledger is, and how its times are read. */
export interface Ledger {
  /** The first of these schemas that has a table counts. */
  schemas: readonly string[];
  /** The zone of times without a zone, by Postgres' and IANA's name. */
  timeZone: string;
}

/** The settings that say so. */
export type LedgerTexts = { [Name in "LEDGER_SCHEMA" | "LEDGER_TIMEZONE"]?: string | undefined };

/** Parses the two settings. Adds what is wrong to `problems`, in a sentence that names the setting. */
export function parseLedger(texts: LedgerTexts, problems: string[]): Ledger {
  return { schemas: parseSchemas(texts, problems), timeZone: parseTimeZone(texts, problems) };
}

/** Names as they are in the catalogue: a capital is a capital without quotes. None is Postgres' own. */
function parseSchemas({ LEDGER_SCHEMA }: LedgerTexts, problems: string[]): string[] {
  const names = (LEDGER_SCHEMA || "public").split(",").map((name) => name.trim());
  const isName = (name: string) => /^[\p{L}_][\p{L}\p{N}_$-]{0,62}$/u.test(name);
  if (!names.every((name) => isName(name) && !/^(pg_|information_schema$)/.test(name))) {
    problems.push("LEDGER_SCHEMA must be the ledger's schema, or several, such as veza_ledger_views, public");
  }
  return names;
}

/** A name that Node knows. Postgres would take others for a rule: `UTC+3` is west of Greenwich there. */
function parseTimeZone({ LEDGER_TIMEZONE: timeZone = "" }: LedgerTexts, problems: string[]): string {
  if (!timeZone) return "UTC";
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    if (/^[a-z]/i.test(timeZone)) return timeZone;
  } catch {} // It knows no such zone.
  problems.push("LEDGER_TIMEZONE must be the name of a zone, such as UTC or Europe/Paris");
  return "UTC";
}
