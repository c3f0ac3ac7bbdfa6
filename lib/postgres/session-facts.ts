import type { Database } from "./database.ts";
import { askOn } from "./question.ts";

const named = (schema: string, relation: string) => `from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where nspname = '${schema}' and relname = '${relation}' and has_any_column_privilege(pg_class.oid, 'select')
        and has_schema_privilege(relnamespace, 'usage')`;

/** SQL: whether a schema is there, and this session may use it. */
const mayUse = (schema: string): string =>
  `coalesce(has_schema_privilege(to_regnamespace('"${schema}"')::oid, 'usage'), false)`;

/** Why nothing is counted where it may not. */
const unusable = (schema: string): Error =>
  new Error(`LEDGER_SCHEMA: ${schema} is not there, or this role may not use it`);

/**
 * SQL: the first question of a session about a ledger in this schema. Also whether that is there and may be used, and
 * which of the relations that not every database has this session may read.
 */
export const sessionQuestion = (schema: string): string => `
  select ${mayUse(schema)} as may_use, extract(epoch from clock_timestamp())::numeric as now,
    exists (select ${named("ledger_outbox", "deliveries")}) as "hasOutbox",
    exists (select ${named("ledger_metrics", "amounts_at_risk")}) as "hasAmounts",
    exists (select ${named("ledger_metrics", "accepted_now")}) as "hasAccepted"`;

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
 * Asks whether answers of this session about a ledger can be trusted. It costs nothing: postgres.js sends a first query
 * alone in any case. Rejects as `ownAnswer` does, and where the schema cannot be used or the server does not know the
 * zone.
 */
export async function askSession(database: Database, deadline: AbortSignal): Promise<SessionFacts> {
  const askedAtSeconds = Date.now() / 1000;
  const { schema } = database.ledger;
  const ask = askOn(database, deadline);
  const [seen] = await ask(sessionQuestion(schema));
  if (seen?.now === undefined) throw new Error("Postgres left the first question unanswered");
  const { may_use, now, hasOutbox, hasAmounts, hasAccepted } = seen;
  if (!may_use) throw unusable(schema);
  const apartSeconds = clockDifferenceSeconds(now, askedAtSeconds);
  return { apartSeconds, hasOutbox, hasAmounts, hasAccepted };
}

/** How far apart, in seconds, Postgres' clock and ours are at least, when it said `now` after `askedAtSeconds`. */
export const clockDifferenceSeconds = (now: number, askedAtSeconds: number): number =>
  Math.max(askedAtSeconds - now, now - Date.now() / 1000);
