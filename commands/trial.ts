import type { Sql } from "postgres";
import { checks, questionOf, rowsOf } from "../lib/checks.ts";
import { codeOf } from "../lib/database.ts";
import { recordDelivery } from "../lib/deliveries.ts";
import { tally } from "../lib/events.ts";
import { errorFields } from "../lib/log.ts";
import { lockAndReadTotals } from "../lib/publish.ts";
import { doubt, type Finding, well, wrong } from "./finding.ts";
import { view } from "./remedies.ts";

// Tries what a role has to do, and takes it back.

type Duty = [what: string, work: (sql: Sql) => PromiseLike<unknown>];

const ask = (what: string, question: string): Duty => [what, (sql) => sql.unsafe(question)];
const counts = checks.map((check) => ask(`count ${check.id}`, questionOf(check, { withOldest: true })));
const deliver: Duty = ["record a delivery", tryDelivery];
const publish = ask("publish", lockAndReadTotals);
const lists = checks.map((check) =>
  ask(`list ${check.id}`, `select id, ${check.time} ${rowsOf(check)} order by ${check.time} limit 1`),
);
const readTotals = ask("read the totals", "select from ledger_metrics.totals, ledger_metrics.deliveries limit 1");
const readAmounts = ask("read the amounts", "select from ledger_metrics.amounts_at_risk limit 1");

const duties: Record<string, Duty[]> = {
  veza_ledger_sampler: [...counts, publish],
  veza_ledger_receiver: [deliver, publish],
  veza_ledger: [...counts, deliver, publish],
  veza_ledger_oncall: [readTotals, readAmounts, ...counts, ...lists],
};

/** Records a delivery of every kind of event, in the transaction that the caller takes back. */
export function tryDelivery(sql: Sql): Promise<unknown> {
  const timestamp = Date.now();
  const events = tally([
    { type: "reconciler.action", timestamp, data: { phase: "stuck_orders" } },
    { type: "reconciler.orphan_refund", timestamp },
    { type: "reconciler.sweep", timestamp, data: { duration_seconds: 1 } },
  ]);
  return recordDelivery(sql, { id: `trial ${timestamp}`, increments: events });
}

/**
 * Tries all that `role` has to do, on the connection of a login that may grant it, and takes it back. Resolves to the
 * first failure, if any.
 */
export async function tryRole(sql: Sql, role: string): Promise<Finding> {
  for (const [what, work] of duties[role] ?? []) {
    try {
      await sql.unsafe(`begin read write; ${becoming(role)}`);
      await work(sql);
    } catch (error) {
      const found = `could not ${what}: ${errorFields(error).reason}`;
      // A ledger without an id is counted like any other.
      if (codeOf(error) === "42703" && lists.some(([list]) => list === what)) return doubt(found, "an id", view);
      const isBusy = codeOf(error) === "55P03";
      const doctor = role === "veza_ledger_receiver" ? "receiver" : "sampler";
      return wrong(found, "it can", isBusy ? "somebody else works on it: run it again" : `npm run doctor -- ${doctor}`);
    } finally {
      await sql.unsafe("rollback");
    }
  }
  return well("tried: it can do its work");
}

/**
 * SQL: from here to the end of the transaction, this session is the role, with the settings of its own sessions. Where
 * the role has none, the database's or the server's own count. The settings of the login that migrates do not.
 */
const becoming = (role: string) => `
  do $$
  begin
    if not (select rolsuper from pg_roles where rolname = session_user) then
      execute format('grant ${role} to %I', session_user);
    end if;
  end
  $$;
  select set_config(name, value, true) from (
    select name, boot_val as value, 0 as priority from pg_settings where source in ('user', 'database user')
    union all
    select split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1),
      case setrole when 0 then 1 else 2 end + case setdatabase when 0 then 0 else 0.5 end
    from pg_db_role_setting, unnest(setconfig) as entry
    where setrole in (0, '${role}'::regrole)
      and setdatabase in (0, (select oid from pg_database where datname = current_database()))
    order by priority
  ) as settings
  where name like '%.%' or exists (select from pg_settings where pg_settings.name = settings.name and context = 'user');
  select set_config('transaction_read_only', 'on', true)
  where current_setting('default_transaction_read_only') = 'on' and '${role}' <> 'veza_ledger_sampler';
  set local role ${role}`;
