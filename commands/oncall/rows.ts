// The rows of a check: which fire, since when, and whether it goes on.
import type { Check } from "../../lib/counts/checks.ts";
import { minutesIn } from "../../lib/counts/interval.ts";
import { checkNames, checkOf, rowsOf } from "./checks.ts";
import type { Command, Context } from "./command.ts";
import type { Sql } from "./postgres.ts";
import { Refusal } from "./terminal.ts";

/** What `rows` has counted of a check. */
export interface Counts {
  firing: number;
  accepted: number;
  /** Not accepted, and too young to fire. */
  young: number;
  /** When the oldest that fires began to wait. Null where no time is known. */
  oldest: string | null;
  /** How many minutes ago the newest began to wait that nobody has accepted. Null where no time is known. */
  newest: number | null;
  now: string;
  /** Of orphan refunds: how many were marked as failed in these times. */
  failed?: { hour: number; day: number; days14: number };
}

/** What `rows` says first: how many fire, and whether it goes on. */
export function summaryOf({ id, stuckAfter, overdueAfter }: Check, counts: Counts): string[] {
  const { firing, accepted, young, oldest, newest, now, failed } = counts;
  const ofFailed = failed
    ? `${failed.hour} were marked as failed in the last hour, ${failed.day} in a day, ${failed.days14} in 14 days. `
    : "";
  const besides = `Besides: ${accepted} accepted, ${young} too young to fire.`;
  const first = `${firing} of ${id} fire now, ${now}. ${ofFailed}${besides}`;
  if (firing === 0) {
    return [
      first,
      failed && failed.day > 0
        ? "No refund waits that fires. Nobody has paid those that were marked as failed."
        : "So they were repaired or accepted, or their status was renamed.",
    ];
  }
  const youngest = minutesIn(stuckAfter);
  // One row that fires is over, as far as one can tell: there has to be another, or one that is too young to fire.
  const isRecent = newest !== null && newest <= youngest + 10 && firing + young > 1;
  const goesOn = isRecent || (newest !== null && newest < minutesIn(overdueAfter));
  return [
    first,
    `The oldest began to wait at ${oldest ?? "a time that is unknown"}. ` +
      (goesOn ? "IT GOES ON: " : "No new one for a while: ") +
      (newest === null ? "no time is known" : `the newest is ${newest} minutes old`) +
      (youngest > 0 ? `, and none counts before ${youngest}.` : "."),
  ];
}

async function rows(context: Context, name?: string): Promise<void> {
  const check = checkOf(name);
  const { ledger, print, strong } = context;
  await ledger.read(async (sql) => {
    const list = rowsOf(sql, check.id);
    const [counts] = await sql<Counts[]>`
      select count(*) filter (where fires)::int as firing,
        count(*) filter (where accepted_until > now())::int as accepted,
        count(*) filter (where not fires and coalesce(accepted_until <= now(), true))::int as young,
        to_char(min(since) filter (where fires), 'YYYY-MM-DD HH24:MI') as oldest,
        extract(epoch from now() - max(since) filter (where coalesce(accepted_until <= now(), true)))::int / 60
          as newest,
        to_char(now(), 'YYYY-MM-DD HH24:MI TZ') as now
      from ${list}`;
    if (!counts) return;
    if (check.id === "orphan_refunds") {
      const [failed] = await sql<NonNullable<Counts["failed"]>[]>`
        select count(*) filter (where failed_at > now() - interval '1 hour')::int as hour,
          count(*) filter (where failed_at > now() - interval '1 day')::int as day, count(*)::int as days14
        from ledger_metrics.failed_orphan_refunds()`;
      if (failed) counts.failed = failed;
    }
    const [first = "", ...more] = summaryOf(check, counts);
    print(strong(first), ...more);
    if (counts.firing > 0) {
      await ledger.show(
        sql`select * from ${list} where fires order by since nulls first limit 10`,
        "The 10 oldest that fire:",
        ["fires", "accepted_until", "accepted_because"],
      );
      await ledger.show(
        sql`select * from (
            select to_char(to_timestamp(floor(extract(epoch from since) / 600) * 600), 'MM-DD HH24:MI') as began,
              count(*) as rows
            from ${list} where coalesce(accepted_until <= now(), true) group by 1 order by 1 desc limit 12
          ) as newest order by 1`,
        "When those that nobody has accepted began to wait, by 10 minutes; the last 12 that have any:",
      );
    }
    if (counts.failed) await showOrphans(context, sql);
  });
}

/**
 * Lists orphan refunds that the reconciler, or a person, has marked as failed. Then the orders and payments of all
 * orphans, where people on call may read the column for it.
 */
async function showOrphans({ ledger, stage }: Context, sql: Sql): Promise<void> {
  await ledger.show(
    sql`select id, since, failed_at from ledger_metrics.failed_orphan_refunds()
      where failed_at > now() - interval '3 days' order by failed_at desc nulls last limit 20`,
    "Marked as failed in the last 3 days, at most 20, the latest first:",
  );
  const [orders] = await sql`select exists (
      select from pg_attribute join pg_class on pg_class.oid = attrelid
      where relnamespace = to_regnamespace(quote_ident(${stage.schema})) and relname = 'refunds'
        and attname = 'order_id' and has_column_privilege(attrelid, attnum, 'select')
    ) as may`;
  if (!orders?.may) return;
  await ledger.show(
    sql`select orphan.id as refund, orders.id as "order", hyperswitch_payment_id as payment
      from (
        select id, since from ledger_metrics.orphan_refunds() where fires union
        select id, since from ledger_metrics.failed_orphan_refunds() where failed_at > now() - interval '3 days'
      ) as orphan join ${sql(`${stage.schema}.refunds`)} as refunds on refunds.id::text = orphan.id
        left join ${sql(`${stage.schema}.orders`)} as orders on orders.id = order_id
      order by since desc nulls last limit 30`,
    "Their orders and payments; at most 30, the newest refunds first:",
  );
}

/** One line about a check. */
async function rowOf({ ledger }: Context, id: string): Promise<string> {
  const [row] = await ledger.read(
    (sql) => sql`select count(*) filter (where fires) as firing,
        count(*) filter (where accepted_until > now()) as accepted,
        to_char(min(since) filter (where fires), 'YYYY-MM-DD HH24:MI') as oldest
      from ${rowsOf(sql, id)}`,
  );
  return `${id.padEnd(18)}  ${row?.firing} fire  ${row?.accepted} accepted  oldest ${row?.oldest ?? "-"}`;
}

async function allRows(context: Context): Promise<void> {
  await context.ledger.read(async () => {});
  const unknown: string[] = [];
  for (const id of checkNames) {
    // One broken check hides no other: each has a transaction of its own.
    try {
      context.print(await rowOf(context, id));
    } catch (error) {
      // Without an SQLSTATE, Postgres has gone.
      if (!/^[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code))) throw error;
      context.say(...(error as Refusal).lines);
      context.print(`${id.padEnd(18)}  unknown: the line above says why`);
      unknown.push(id);
    }
  }
  if (unknown.length > 0) throw new Refusal(`Unknown: ${unknown.join(", ")}.`);
  context.print("For each that fires, follow the page of its alert, such as VezaLedgerStuckOrders.");
}

export const rowsCommands: Command[] = [
  {
    name: "rows",
    calls: ["rows CHECK"],
    help:
      "How many rows of a check fire, since when, whether it goes on, and the ten oldest. Of orphan refunds, also " +
      "those that were marked as failed. All: sql 'select * from ledger_metrics.CHECK() where fires'",
    run: rows,
  },
  {
    name: "all_rows",
    calls: ["all_rows"],
    help: "How many rows of each check fire. Use it while the sampler or Prometheus is down.",
    run: allRows,
  },
];
