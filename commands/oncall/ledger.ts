// The rows of the ledger: what fires, what is accepted, who locks them.
import type postgres from "postgres";
import { checks } from "../../lib/counts/checks.ts";
import type { Command, Context } from "./command.ts";
import { showLast } from "./log.ts";
import type { Sql } from "./postgres.ts";
import { Refusal } from "./terminal.ts";

/** A check by its name. Refuses any other. */
function checkOf(name = "none") {
  const check = checks.find(({ id }) => id === name);
  if (check) return check;
  throw new Refusal(`Nothing is done: there is no check '${name}'. The checks are: ${checkNames.join(" ")}`);
}
export const checkNames = checks.map(({ id }) => id).sort();

/** The function that lists the rows of a check. */
const rowsOf = (sql: Sql, id: string) => sql`${sql(`ledger_metrics.${id}`)}()`;

/** An interval of Postgres in minutes, as checks.ts writes them. */
export function minutesOf(interval = "0 minutes"): number {
  const [, number, unit] = /^(\d+) (minute|hour|day)s?$/.exec(interval) ?? [];
  const minutes = { minute: 1, hour: 60, day: 1440 }[unit ?? ""];
  if (!minutes) throw new Error(`not understood: ${interval}`);
  return Number(number) * minutes;
}

/** What `rows` says first, about counts of which each is null without rows. */
export function summaryOf(
  id: string,
  youngest: number,
  { firing, accepted, young, oldest, newest, now }: Record<string, string | number | null>,
): string[] {
  const first = `${firing} of ${id} fire now, ${now}. Besides: ${accepted} accepted, ${young} too young to fire.`;
  if (firing === 0) return [first, "So they were repaired or accepted, or their status was renamed."];
  const goesOn = newest !== null && Number(newest) <= youngest + 10;
  return [
    first,
    `The oldest began to wait at ${oldest ?? "a time that is unknown"}. ` +
      (goesOn ? "IT GOES ON: " : "No new one for a while: ") +
      (newest === null ? "no time is known" : `the newest is ${newest} minutes old`) +
      (youngest > 0 ? `, and none counts before ${youngest}.` : "."),
  ];
}

async function rows(context: Context, name?: string): Promise<void> {
  const { id, stuckAfter } = checkOf(name);
  const { ledger, print, strong } = context;
  await ledger.read(async (sql) => {
    const [counts] = await sql`
      select count(*) filter (where fires)::int as firing,
        count(*) filter (where accepted_until > now())::int as accepted,
        count(*) filter (where not fires and coalesce(accepted_until <= now(), true))::int as young,
        to_char(min(since) filter (where fires), 'YYYY-MM-DD HH24:MI') as oldest,
        extract(epoch from now() - max(since) filter (where coalesce(accepted_until <= now(), true)))::int / 60
          as newest,
        to_char(now(), 'YYYY-MM-DD HH24:MI TZ') as now
      from ${rowsOf(sql, id)}`;
    const [first = "", ...more] = summaryOf(id, minutesOf(stuckAfter), counts ?? {});
    print(strong(first), ...more);
    if (counts?.firing > 0) {
      await ledger.show(
        sql`select * from ${rowsOf(sql, id)} where fires order by since nulls first limit 10`,
        "The 10 oldest that fire:",
        ["fires", "accepted_until", "accepted_because"],
      );
      await ledger.show(
        sql`select * from (
            select to_char(to_timestamp(floor(extract(epoch from since) / 600) * 600), 'MM-DD HH24:MI') as began,
              count(*) as rows
            from ${rowsOf(sql, id)} where coalesce(accepted_until <= now(), true) group by 1 order by 1 desc limit 12
          ) as newest order by 1`,
        "When those that nobody has accepted began to wait, by 10 minutes; the last 12 that have any:",
      );
    }
    if (id === "orphan_refunds") await failedOrphans(context, sql);
  });
}

/**
 * Orphan refunds that the reconciler, or a person, has marked as failed, which pays nobody. Then the orders and
 * payments of all orphans, where people on call may read the column for it.
 */
async function failedOrphans({ ledger, print, stage }: Context, sql: Sql): Promise<void> {
  const [failed] = await sql`select count(*)::int as count from ledger_metrics.failed_orphan_refunds()`;
  if (failed?.count > 0) {
    await ledger.show(sql`
      select count(*) filter (where failed_at > now() - interval '1 hour') as "marked as failed in the last hour",
        count(*) filter (where failed_at > now() - interval '1 day') as "day", count(*) as "14 days"
      from ledger_metrics.failed_orphan_refunds()`);
    await ledger.show(
      sql`select id, since, failed_at from ledger_metrics.failed_orphan_refunds()
        where failed_at > now() - interval '3 days' order by failed_at desc nulls last limit 20`,
      "Nobody has paid those marked as failed. Of the last 3 days, at most 20, the latest first:",
    );
  } else print("None was marked as failed in the last 14 days.");
  const refunds = sql([stage.schema, "refunds"].join("."));
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
      ) as orphan join ${refunds} as refunds on refunds.id::text = orphan.id
        left join ${sql([stage.schema, "orders"].join("."))} as orders on orders.id = order_id
      order by since desc nulls last limit 30`,
    "Their orders and payments; at most 30, the newest refunds first:",
  );
}

/** A span such as 5 days. Refuses any other text. */
function spanOf(words: string[], example: string): string {
  const span = words.join(" ");
  if (/^\d+ ?[a-z]+$/.test(span)) return span;
  throw new Refusal(`Nothing is accepted: say for how long, as in: ${example} 5 days`);
}

type Fragment = postgres.PendingQuery<postgres.Row[]>;

/** SQL: the rows of a backlog that have waited for over a time. */
const backlogOf = (sql: Sql, id: string, waited: string) => sql`
  from ${rowsOf(sql, id)} where coalesce(since < now() - ${waited}::interval, true) and (fires
    or accepted_until < now() + interval '3 days' or accepted_until = (select until from ledger_metrics.first_day))`;

export const ledgerCommands: Command[] = [
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
    async run({ ledger, print, say }) {
      for (const id of checkNames) {
        // One broken check hides no other: each has a transaction of its own.
        try {
          await ledger.read(async (sql) => {
            const [row] = await sql`select count(*) filter (where fires) as firing,
                count(*) filter (where accepted_until > now()) as accepted,
                to_char(min(since) filter (where fires), 'YYYY-MM-DD HH24:MI') as oldest
              from ${rowsOf(sql, id)}`;
            const { firing, accepted, oldest } = row ?? {};
            print(`${id.padEnd(18)}  ${firing} fire  ${accepted} accepted  oldest ${oldest ?? "-"}`);
          });
        } catch (error) {
          // Without a code, the stage is another one; otherwise Postgres is there.
          if (!(error instanceof Refusal) || !/^[0-9A-Z]{5}$/.test(String((error as { code?: string }).code)))
            throw error;
          say(...error.lines);
          print(`${id}: unknown. The line above says why.`);
        }
      }
      print("For each that fires, follow the page of its alert, such as VezaLedgerStuckOrders.");
    },
  },
  {
    name: "accept",
    calls: ["accept CHECK SPAN"],
    help:
      "Takes rows out of the alerts for a time, such as 5 days. It asks for their ids and for the reason. 0 days " +
      "takes them back in.",
    async run({ ledger, line, print }, name, ...words) {
      const span = spanOf(words, `accept ${name ?? "stuck_orders"}`);
      const { id } = checkOf(name);
      await ledger.read(async () => {});
      print(`ids of ${id}, in one line or in several, and an empty line after the last:`);
      const ids: string[] = [];
      for (let typed = await line("ids"); typed; typed = await line("ids")) ids.push(...typed.split(/[\s,]+/));
      const why = await line("why, and your name");
      await ledger.write((sql) =>
        ledger.show(sql`
          select accepted_id as id,
            case when accepted_until > now() then 'accepted until ' || to_char(accepted_until, 'YYYY-MM-DD HH24:MI TZ')
              else 'TAKEN BACK: it fires again within 2 minutes' end as is_now, accepted_because as why
          from ledger_metrics.accept(${id}, string_to_array(${ids.filter(Boolean).join(",")}, ','), ${why},
            now() + ${span}::interval)`),
      );
    },
  },
  {
    name: "accept_backlog",
    calls: ["accept_backlog CHECK SPAN"],
    help:
      "Accepts all rows of a check that fire, or that are accepted by the first day or for less than 3 more days. " +
      "Only those that have waited for over a day, or for as long as you say.",
    async run({ ledger, line, print }, name, ...words) {
      const span = spanOf(words, `accept_backlog ${name ?? "stuck_orders"}`);
      const { id } = checkOf(name);
      await ledger.read(async () => {});
      const waited = (await line("those that have waited for over how long? (24 hours)")) || "24 hours";
      const [found] = await ledger.read(
        (sql) => sql`
          select count(*)::int as count, count(*) filter (where fires) as firing,
            to_char(min(since), 'YYYY-MM-DD HH24:MI') as oldest, to_char(max(since), 'YYYY-MM-DD HH24:MI') as newest
          ${backlogOf(sql, id, waited)}`,
      );
      if (!found?.count) throw new Refusal(`Nothing is accepted: no such row has waited for over ${waited}.`);
      const { count, firing, oldest, newest } = found;
      print(`This accepts ${count} rows, of which ${firing} fire, from ${oldest} to ${newest}.`);
      const why = await line("why, and your name (nothing, to accept none)");
      if (!why) throw new Refusal("Nothing is accepted.");
      await ledger.write((sql) =>
        ledger.show(sql`
          select count(*) as "rows accepted", to_char(min(accepted_until), 'YYYY-MM-DD HH24:MI TZ') as until
          from ledger_metrics.accept(${id}, array(select id ${backlogOf(sql, id, waited)}), ${why},
            now() + ${span}::interval)`),
      );
    },
  },
  {
    name: "accepted",
    calls: ["accepted"],
    help: "What is accepted now: how many rows of each check, until when, by whom, and why.",
    run: ({ ledger, print }) =>
      ledger.read(async (sql) => {
        const shown = await ledger.show(sql`
          select "check", count(*) as rows, to_char(min(until), 'YYYY-MM-DD HH24:MI') as "the first ends",
            to_char(max(until), 'YYYY-MM-DD HH24:MI') as "the last ends", accepted_by, why
          from ledger_metrics.accepted_now group by "check", accepted_by, why order by min(until) limit 50`);
        if (shown === 0) print("Nobody has accepted a row that is left out now.");
        if (shown === 50) print("These are 50; there may be more, which end later.");
        const [day] = await sql`
          select to_char(until, 'YYYY-MM-DD HH24:MI') as until, to_char(began_at, 'YYYY-MM-DD') as began
          from ledger_metrics.first_day where until > now()`;
        if (day) print(`Besides, until ${day.until}: all rows that were stuck on the first day, ${day.began}.`);
      }),
  },
  {
    name: "locks",
    calls: ["locks"],
    help: "Who holds a lock on the ledger's tables, or waits for one.",
    run: ({ ledger, print, stage }) =>
      ledger.read(async (sql) => {
        const shown = await ledger.show(sql`
          select relation::regclass as locked, mode, granted, pid, usename, application_name,
            case when pid is null then 'prepared: ' || (
              select string_agg(gid || ' of ' || owner::text, ', ') from pg_prepared_xacts
              where database = current_database()
            ) else state end as state, date_trunc('second', now() - xact_start) as since, left(query, 80) as query
          from pg_locks left join pg_stat_activity using (pid)
          where relation in (select oid from pg_class where relnamespace = to_regnamespace(quote_ident(${stage.schema}))
              and relname in ${sql([...new Set(checks.map(({ table }) => table))])})
            and database = (select oid from pg_database where datname = current_database())
            and pid is distinct from pg_backend_pid()
          order by xact_start nulls first limit 20`);
        if (shown === 0) print("Nobody holds a lock on the ledger's tables, or waits for one.");
      }),
  },
  {
    name: "why_blind",
    calls: ["why_blind"],
    help: "Which statuses new rows have, and which rows are in no count since they have no time, or a future one.",
    async run(context) {
      const { ledger, print, strong, stage } = context;
      await ledger.read(async (sql) => {
        const tables = new Map(checks.map(({ table, time }) => [table, time]));
        const each = (select: (table: string, time: Fragment, from: Fragment) => Fragment) =>
          [...tables]
            .map(
              ([table, time]): Fragment =>
                select(table, sql`${sql(time)}::timestamptz`, sql`${sql(`${stage.schema}.${table}`)}`),
            )
            .reduce((all, one) => sql`${all} union all ${one}`);
        await ledger.show(
          sql`${each(
            (table, time, from) => sql`select ${table}::text as "table", status::text, count(*) as rows,
              max(${time}) as newest from ${from} where ${time} > now() - interval '1 day' group by 2`,
          )} order by 1, 3 desc`,
          "Rows of the last day, by their status. A blind check looks for a status that no new row has any more:",
        );
        const timeless = await ledger.show(
          sql`${each(
            (table, time, from) => sql`select ${table}::text as "table", id::text, status::text, ${time} as time
              from ${from} where ${time} is null or ${time} > now() + interval '5 minutes'`,
          )} limit 30`,
          "Rows without a time, or with one in the future, which are in no count; at most 30:",
        );
        if (timeless === 0) print("  none");
      });
      print(strong("What the sampler could not read in the last 2 hours:"));
      await showLast(context, "sampler", "2h", ["evidence not read", "check failed"], 6);
    },
  },
  {
    name: "sql",
    calls: ["sql ['SELECT ...']"],
    help: "Asks Postgres, read-only. Without a question it asks for them; an empty line leaves it.",
    async run({ ledger, line, say, print }, ...words) {
      const ask = (text: string) =>
        ledger.read(async (sql) => {
          if ((await ledger.show(sql.unsafe(text, [], { simple: false } as postgres.UnsafeQueryOptions))) === 0)
            print("(no rows)");
        });
      if (words.length > 0) return ask(words.join(" "));
      await ledger.read(async () => {});
      for (let text = await line("sql"); text; text = await line("sql")) {
        await ask(text).catch((error) => {
          if (!(error instanceof Refusal)) throw error;
          say(...error.lines);
        });
      }
    },
  },
];
