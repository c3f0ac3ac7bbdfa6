/** Where the ledger is, and how its times are read. */
export interface Ledger {
  /** The schema with its tables, or with views that have their names. */
  schema: string;
  /** The zone of times without a zone, by Postgres' and IANA's name. */
  timeZone: string;
}

/** The settings that say so. */
export type LedgerTexts = { [Name in "LEDGER_SCHEMA" | "LEDGER_TIMEZONE"]?: string | undefined };

/** Parses the two settings. Adds what is wrong to `problems`, in a sentence that names the setting. */
export function parseLedger(texts: LedgerTexts, problems: string[]): Ledger {
  return { schema: parseSchema(texts, problems), timeZone: parseTimeZone(texts, problems) };
}

/** A name as it is in the catalogue: a capital is a capital without quotes. It is none of Postgres' own. */
function parseSchema({ LEDGER_SCHEMA }: LedgerTexts, problems: string[]): string {
  const name = LEDGER_SCHEMA || "public";
  if (!/^(?!pg_|information_schema$)[\p{L}_][\p{L}\p{N}_$-]{0,62}$/u.test(name)) {
    problems.push("LEDGER_SCHEMA must be the name of one schema, such as public, without quotes");
  }
  return name;
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
