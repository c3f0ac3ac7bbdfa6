import { type Database, withDeadline } from "./database.ts";

const mayRead = (relation: string) => `exists (
      select from pg_class where relname = '${relation}' and has_table_privilege(oid, 'select')
        and relnamespace = (select oid from pg_namespace where nspname = 'ledger_metrics'))`;

/** Also which relations a ledger has that not every ledger has, as far as this session may read them. */
const question = `
  select pg_is_in_recovery() as is_replica, extract(epoch from clock_timestamp())::numeric as now,
    coalesce(has_any_column_privilege(to_regclass('ledger_metrics_outbox'), 'select'), false) as "hasOutbox",
    ${mayRead("amounts_at_risk")} as "hasAmounts", ${mayRead("accepted")} as "hasAccepted"`;

/** How far apart the clocks are, in seconds, and which optional relations this session can read. */
type SessionFacts = { apart: number } & Record<"hasAmounts" | "hasAccepted" | "hasOutbox", boolean>;

/**
 * Asks whether answers of this session can be believed. It costs nothing: postgres.js sends a first query alone in any
 * case. Rejects on a replica.
 */
export async function askSession(database: Database, deadline: AbortSignal): Promise<SessionFacts> {
  const askedAtSeconds = Date.now() / 1000;
  const [seen] = await withDeadline(database, deadline, (sql) => sql.unsafe(question));
  if (!seen) throw new Error("Postgres left the first question unanswered");
  const { is_replica, now, hasOutbox, hasAmounts, hasAccepted } = seen;
  if (is_replica) throw new Error("a replica: name the primary");
  return { apart: clockDifferenceSeconds(now, askedAtSeconds), hasOutbox, hasAmounts, hasAccepted };
}

/** How far apart, in seconds, Postgres' clock and ours are at least, when it said `now` after `askedAtSeconds`. */
export const clockDifferenceSeconds = (now: number, askedAtSeconds: number): number =>
  Math.max(askedAtSeconds - now, now - Date.now() / 1000);
