import type { Database } from "./database.ts";
import { askOn } from "./question.ts";

const named = (schema: string, relation: string) => `from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where nspname = '${schema}' and relname = '${relation}' and has_any_column_privilege(pg_class.oid, 'select')
        and has_schema_privilege(relnamespace, 'usage')`;

/**
 * SQL: why the outbox is not read, as anybody may create one in public before PostgreSQL 15. Of a view, or of types of
 * its own, functions would run as the sampler. Whoever owns a table can make a view of it between this question and the
 * next. So it has to be of somebody who could as well change the ledger.
 */
const outboxProblem = (schema: string, tables: readonly string[]) => `case
        when relkind <> 'r' then 'is no table'
        when 3 <> (
          select count(*) from pg_attribute where attrelid = pg_class.oid
            and attname in ('created_at', 'parked_at', 'sent_at') and atttypid = 'timestamptz'::regtype::oid
        ) then 'has times that are no timestamptz'
        when relowner not in (
          select datdba from pg_database where datname = current_database()
          union all select oid from pg_roles where rolsuper
          union all select relowner from pg_class where relnamespace = to_regnamespace('"${schema}"')
            and relname in (${tables.map((table) => `'${table}'`).join(", ")})
        ) then format('belongs to %s, who owns no table of the ledger', pg_get_userbyid(relowner))
      end`;

/** SQL: whether a schema is there, and this session may use it. */
const mayUse = (schema: string): string =>
  `coalesce(has_schema_privilege(to_regnamespace('"${schema}"')::oid, 'usage'), false)`;

/** Why nothing is counted where it may not. */
const unusable = (schema: string): Error =>
  new Error(`LEDGER_SCHEMA: ${schema} is not there, or this role may not use it`);

/**
 * SQL: the first question of a session about a ledger with these tables in a schema. Also whether that is there and may
 * be used, and which of the relations that not every database has this session may read.
 */
export const sessionQuestion = (schema: string, tables: readonly string[]): string => `
  select ${mayUse(schema)} as may_use,
    pg_is_in_recovery() as is_replica, extract(epoch from clock_timestamp())::numeric as now,
    exists (select ${named("public", "ledger_metrics_outbox")}) as "hasOutbox",
    (select ${outboxProblem(schema, tables)} ${named("public", "ledger_metrics_outbox")}) as "outboxProblem",
    exists (select ${named("ledger_metrics", "amounts_at_risk")}) as "hasAmounts",
    exists (select ${named("ledger_metrics", "accepted_now")}) as "hasAccepted"`;

/** What a tick has to know of its session. */
interface SessionFacts {
  /** How far apart the clocks of Postgres and of this process are at least. */
  apartSeconds: number;
  /** Which of the optional relations it may read. */
  hasOutbox: boolean;
  /** Why an outbox that it may read is not read, after the outbox's name. */
  outboxProblem: string | null;
  hasAmounts: boolean;
  hasAccepted: boolean;
}

/**
 * Asks whether answers of this session about a ledger with these tables can be trusted. It costs nothing: postgres.js
 * sends a first query alone in any case. Rejects on a replica, and where the schema cannot be used or the server does
 * not know the zone.
 */
export async function askSession(
  database: Database,
  deadline: AbortSignal,
  tables: readonly string[],
): Promise<SessionFacts> {
  const askedAtSeconds = Date.now() / 1000;
  const { schema } = database.ledger;
  const ask = askOn(database, deadline);
  const [seen] = await ask(sessionQuestion(schema, tables));
  if (seen?.is_replica === undefined || seen.now === undefined)
    throw new Error("Postgres left the first question unanswered");
  const { may_use, is_replica, now, hasOutbox, outboxProblem, hasAmounts, hasAccepted } = seen;
  if (!may_use) throw unusable(schema);
  if (is_replica) throw new Error("a replica: name the primary");
  const apartSeconds = clockDifferenceSeconds(now, askedAtSeconds);
  return { apartSeconds, hasOutbox, outboxProblem, hasAmounts, hasAccepted };
}

/** How far apart, in seconds, Postgres' clock and ours are at least, when it said `now` after `askedAtSeconds`. */
export const clockDifferenceSeconds = (now: number, askedAtSeconds: number): number =>
  Math.max(askedAtSeconds - now, now - Date.now() / 1000);
