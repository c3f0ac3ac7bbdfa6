import { codeOf, type Database } from "./database.ts";
import { own } from "./own-names.ts";
import { askOn } from "./question.ts";

const mayRead = (schema: string, relation: string, which = "true") => `exists (
      select from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where nspname = '${schema}' and relname = '${relation}' and has_any_column_privilege(pg_class.oid, 'select')
        and has_schema_privilege(relnamespace, 'usage') and ${which})`;

/**
 * SQL: it is a table whose times are Postgres' own. Before PostgreSQL 15, anybody may create an outbox in public: of a
 * view, or of types of its own, functions would run as the sampler.
 */
const isPlainOutbox = `relkind = 'r' and 3 = (
          select count(*) from pg_attribute where attrelid = pg_class.oid
            and attname in ('created_at', 'parked_at', 'sent_at') and atttypid = 'timestamptz'::regtype::oid)`;

/**
 * Also which schemas are there and may be used, since a search_path skips others without a word; and which of the
 * relations that not every database has this session may read.
 */
export const sessionQuestion = own(`
  select to_jsonb(current_schemas(false)) as schemas, pg_is_in_recovery() as is_replica,
    extract(epoch from clock_timestamp())::numeric as now,
    ${mayRead("public", "ledger_metrics_outbox", isPlainOutbox)} as "hasOutbox",
    ${mayRead("ledger_metrics", "amounts_at_risk")} as "hasAmounts",
    ${mayRead("ledger_metrics", "accepted")} as "hasAccepted"`);

/** What a tick has to know of its session. */
interface SessionFacts {
  /** How far apart the clocks of Postgres and of this process are at least. */
  apartSeconds: number;
  /** Which of the optional relations it may read. */
  hasOutbox: boolean;
  hasAmounts: boolean;
  hasAccepted: boolean;
}

/**
 * Asks whether answers of this session can be believed. It costs nothing: postgres.js sends a first query alone in any
 * case. Rejects on a replica, and where a schema cannot be used or the server does not know the zone.
 */
export async function askSession(database: Database, deadline: AbortSignal): Promise<SessionFacts> {
  const askedAtSeconds = Date.now() / 1000;
  const { schemas: expected, timeZone } = database.ledger;
  const ask = askOn(database, deadline);
  const [seen] = await ask(sessionQuestion).catch((error) => {
    // Invalid parameter value: no other setting of a message is given by people.
    if (codeOf(error) === "22023") throw new Error(`LEDGER_TIMEZONE: this server knows no zone ${timeZone}`);
    throw error;
  });
  if (!seen) throw new Error("Postgres left the first question unanswered");
  const { schemas, is_replica, now, hasOutbox, hasAmounts, hasAccepted } = seen;
  const unusable = unusableSchemas(expected, schemas);
  if (unusable) throw unusable;
  if (is_replica) throw new Error("a replica: name the primary");
  return { apartSeconds: clockDifferenceSeconds(now, askedAtSeconds), hasOutbox, hasAmounts, hasAccepted };
}

/** Why nothing is counted: one of the ledger's schemas is not among those that this session can use. */
export function unusableSchemas(expected: readonly string[], usable: readonly string[]): Error | undefined {
  const unusable = expected.filter((schema) => !usable.includes(schema));
  if (unusable.length === 0) return undefined;
  return new Error(`LEDGER_SCHEMA: ${unusable.join(", ")} is not there, or this role may not use it`);
}

/** How far apart, in seconds, Postgres' clock and ours are at least, when it said `now` after `askedAtSeconds`. */
export const clockDifferenceSeconds = (now: number, askedAtSeconds: number): number =>
  Math.max(askedAtSeconds - now, now - Date.now() / 1000);
