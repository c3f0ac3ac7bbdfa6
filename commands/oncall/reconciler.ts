// What the reconciler has sent, and what was counted of it.
import type { Command } from "./command.ts";
import { showLast } from "./log.ts";

export const reconcilerCommands: Command[] = [
  {
    name: "sweeps",
    calls: ["sweeps"],
    help: "When the reconciler's sweeps ended last, and what has arrived since.",
    run: ({ ledger }) =>
      ledger.read(async (sql) => {
        await ledger.show(
          sql`select labels ->> 'phase' as phase, case when value = 0 then 'never, or forgotten'
              else to_char(to_timestamp(value), 'YYYY-MM-DD HH24:MI:SS TZ') end as ended,
              case when value > 0 then extract(epoch from now() - to_timestamp(value))::int / 60 end as minutes_ago
            from ledger_metrics.totals
            where name in ('veza_reconciler_last_run_timestamp', 'veza_reconciler_phase_last_run_timestamp_seconds')
            order by name, phase`,
          "The last sweep of each phase; without a phase, the last of all:",
        );
        await ledger.show(
          sql`select id, to_char(received_at, 'MM-DD HH24:MI:SS') as received, attempts, words
            from ledger_metrics.deliveries order by received_at desc limit 10`,
          "The last 10 deliveries of 14 days, and what each has counted:",
        );
      }),
  },
  {
    name: "outbox",
    calls: ["outbox"],
    help: "Which events wait in the reconciler's outbox, and what the receiver says.",
    async run(context) {
      const { ledger, print, strong } = context;
      await ledger.read(async (sql) => {
        const [outbox] = await sql`
          select has_schema_privilege(to_regnamespace('ledger_outbox')::oid, 'usage') as is_here`;
        if (!outbox?.is_here) {
          print("No outbox is in this database that this login may read: ask the payments engineer.");
          return;
        }
        const [counts] = await sql`
          select count(*) filter (where parked_at is null) as waiting,
            count(*) filter (where parked_at is null and created_at < now() - interval '15 minutes') as late,
            count(*) filter (where parked_at is not null) as parked,
            coalesce(sum(attempts) filter (where parked_at is null), 0) as attempts
          from ledger_outbox.deliveries where sent_at is null`;
        const { waiting, late, parked, attempts } = counts ?? {};
        print(
          strong(
            `${waiting} events wait, ${late} for over 15 minutes, after ${attempts} attempts; ${parked} are parked.`,
          ),
        );
        await ledger.show(
          sql`select id, to_char(created_at, 'MM-DD HH24:MI') as written, attempts, parked_at is not null as parked,
              last_error
            from ledger_outbox.deliveries where sent_at is null order by parked, created_at limit 20`,
          "The oldest first, and the parked ones last; at most 20:",
        );
      });
      print(strong("What the receiver could not confirm in the last 15 minutes:"));
      await showLast(context, "receiver", "15m", ["delivery not confirmed"], 2);
    },
  },
  {
    name: "why_lost",
    calls: ["why_lost"],
    help: "Which counters Postgres has lost events of, and since when.",
    async run(context) {
      const { ledger, print, servers, stage, strong } = context;
      const held = await servers.query(`max(veza_reconciler_counters_held{stage="${stage.name}"})`).then(
        ([sample]) => sample?.value[1] ?? "none, as no tick has arrived",
        (error: Error) => `unknown: ${error.message.split("\n")[0]}`,
      );
      print(strong(`Counters that are held, as Prometheus has it: ${held}`));
      await ledger.read((sql) =>
        ledger.show(
          sql`select to_char(pg_postmaster_start_time(), 'YYYY-MM-DD HH24:MI TZ') as "started",
              to_char(min(received_at), 'YYYY-MM-DD HH24:MI') as "first delivery of 14 days",
              to_char(max(received_at), 'YYYY-MM-DD HH24:MI') as "last delivery",
              to_regnamespace('ledger_outbox') is not null as "the outbox is here too"
            from ledger_metrics.deliveries`,
          "Postgres:",
        ),
      );
      print("Which, and by how many events; by how many seconds for _seconds_sum:");
      await showLast(context, "sampler", "15m", ["counters held"], 1);
    },
  },
];
