import type { Sql } from "postgres";
import { checks, questionOf, rowsOf } from "../lib/checks.ts";
import type { Database } from "../lib/database.ts";
import { recordDelivery } from "../lib/deliveries.ts";
import { tally } from "../lib/events.ts";
import { errorFields } from "../lib/log.ts";
import { lockAndReadTotals } from "../lib/publish.ts";
import { Problem } from "./look.ts";
import { basesOf, missingRights } from "./rights.ts";

// Tries what a role has to do, and takes it back.

type Attempt = [what: string, work: (sql: Sql) => PromiseLike<unknown>];

const countAll: Attempt[] = checks.map((check) => [
  `count ${check.id}`,
  (sql) => sql.unsafe(questionOf(check, { withOldest: true })),
]);
const publish: Attempt = ["publish", (sql) => sql.unsafe(lockAndReadTotals)];
const deliver: Attempt = ["record a delivery", tryDelivery];
const listAll: Attempt[] = [
  ...checks.map(
    (check): Attempt => [
      `list ${check.id}`,
      (sql) => sql.unsafe(`select id, ${check.time} ${rowsOf(check)} order by ${check.time} limit 1`),
    ],
  ),
  ["read the totals", (sql) => sql.unsafe("select from ledger_metrics.totals, ledger_metrics.deliveries limit 1")],
];

const duties: Record<string, { attempts: Attempt[]; summary: string }> = {
  veza_ledger_sampler: { attempts: [...countAll, publish], summary: `${checks.length} counts, a publish` },
  veza_ledger_receiver: { attempts: [deliver, publish], summary: "a delivery, a publish" },
  veza_ledger: {
    attempts: [...countAll, deliver, publish],
    summary: `${checks.length} counts, a delivery, a publish`,
  },
  veza_ledger_oncall: { attempts: listAll, summary: "the runbook's lists, the totals" },
};

/** Records a delivery of every kind of event, in the transaction that the caller takes back. */
export function tryDelivery(sql: Sql): Promise<unknown> {
  const timestamp = Date.now();
  const events = tally([
    { type: "reconciler.action", timestamp, data: { phase: "stuck_orders" } },
    { type: "reconciler.orphan_refund", timestamp },
    { type: "reconciler.sweep", timestamp, data: { duration_seconds: 1 } },
  ]);
  return recordDelivery(sql, { id: `trial ${timestamp}`, bodyDigest: "", increments: events });
}

/**
 * Tries all that `role` has to do, and takes it back: on its own connection or, with `setRole`, on the connection of a
 * login that may grant it. Resolves to what was tried. Throws a Problem with the missing grants, or the first failure.
 */
export async function tryRole({ sql }: Database, role: string, { setRole = false } = {}): Promise<string> {
  const begin = async () => {
    await sql.unsafe("begin");
    if (setRole) await sql.unsafe(becoming(role));
  };
  const attempt = async <T>(work: (sql: Sql) => PromiseLike<T>): Promise<T> => {
    try {
      await begin();
      return await work(sql);
    } finally {
      await sql.unsafe("rollback");
    }
  };
  const missing = await attempt(() => missingRights((question) => sql.unsafe(question), role, basesOf(role)));
  if (missing.length > 0) throw new Problem("lacks rights", missing.join("; "));
  const { attempts, summary } = duties[role] ?? { attempts: [], summary: "nothing" };
  for (const [what, work] of attempts) {
    await attempt(work).catch((error) => {
      throw new Problem(`could not ${what}: ${errorFields(error).reason}`, `npm run doctor as ${role} says more`);
    });
  }
  return summary;
}

/** SQL: from here to the end of the transaction, this session is the role, with the settings of its own sessions. */
const becoming = (role: string) => `
  do $$
  begin
    if not (select rolsuper from pg_roles where rolname = session_user) then
      execute format('grant ${role} to %I', session_user);
    end if;
  end
  $$;
  select set_config(name, value, true) from (
    select split_part(entry, '=', 1) as name, substr(entry, strpos(entry, '=') + 1) as value
    from pg_db_role_setting, unnest(setconfig) as entry
    where (setrole = '${role}'::regrole or setrole = 0)
      and setdatabase in (0, (select oid from pg_database where datname = current_database()))
    order by setrole <> 0, setdatabase <> 0
  ) as settings
  where name like '%.%' or exists (select from pg_settings where pg_settings.name = settings.name and context = 'user');
  select set_config('transaction_read_only', 'on', true)
  where current_setting('default_transaction_read_only') = 'on' and '${role}' <> 'veza_ledger_sampler';
  set local role ${role}`;
