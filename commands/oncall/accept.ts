// Which rows people have accepted, so that they fire no alert for a time.
import { checkOf, rowsOf } from "./checks.ts";
import type { Command } from "./command.ts";
import type { Sql } from "./postgres.ts";
import { Refusal } from "./terminal.ts";

/** A span such as 5 days. Refuses any other text. */
function spanOf(words: string[], example: string): string {
  const span = words.join(" ");
  if (/^\d+ ?(minute|hour|day|week|month)s?$/.test(span)) return span;
  throw new Refusal(`Nothing is accepted: say for how long, as in: ${example} 5 days`);
}

/** SQL: the rows of a backlog that have waited for over a time. */
const backlogOf = (sql: Sql, id: string, waited: string) => sql`
  from ${rowsOf(sql, id)} where coalesce(since < now() - ${waited}::interval, true) and (fires
    or accepted_until < now() + interval '3 days' or accepted_until = (select until from ledger_metrics.first_day))`;

export const acceptCommands: Command[] = [
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
];
