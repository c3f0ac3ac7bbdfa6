// The ledger's tables: who locks them, and what they have.
import type postgres from "postgres";
import { checks } from "../../lib/counts/checks.ts";
import type { Command } from "./command.ts";
import { showLast } from "./log.ts";

type Fragment = postgres.PendingQuery<postgres.Row[]>;

export const ledgerCommands: Command[] = [
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
        await ledger.show(
          sql`${each(
            (table, time, from) => sql`select ${table}::text as "table", id::text, status::text, ${time} as time
              from ${from} where ${time} is null or ${time} > now() + interval '5 minutes'`,
          )} limit 30`,
          "Rows without a time, or with one in the future, which are in no count; at most 30:",
        );
      });
      print(strong("What the sampler could not read in the last 2 hours:"));
      await showLast(context, "sampler", "2h", ["evidence not read", "check failed"], 6);
    },
  },
];
