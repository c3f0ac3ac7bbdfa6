// What people do by day about lost and wrong events.
import { lockPublisher } from "../../lib/postgres/transaction.ts";
import type { Command, Context } from "./command.ts";
import { lastPushes } from "./gateway-page.ts";
import type { Sql } from "./postgres.ts";
import { Refusal } from "./terminal.ts";

/** Says when the counters of the stage were pushed last. Refuses where the gateway has none. */
async function hasCounters({ print, servers, stage }: Context): Promise<void> {
  const [at] = lastPushes(await servers.gateway("/metrics"), stage.name, ["veza_reconciler"]);
  if (at === undefined) {
    throw new Refusal(
      `Nothing is changed: the gateway has no counters of the stage '${stage.name}', or the next tick has yet to come.`,
    );
  }
  print(`Their last push to the gateway was ${Math.floor(Date.now() / 1_000 - at)} s ago.`);
}

/**
 * Runs `change` under the lock of publishers, and commits only once the gateway has deleted the counters of the stage:
 * so no function pushes the higher values again.
 */
async function correctNow(context: Context, change: (sql: Sql) => Promise<void>): Promise<void> {
  const { ledger, print, servers, stage } = context;
  const group = `/metrics/job/veza_reconciler${stage.name && `/stage/${stage.name}`}`;
  await ledger.correct(async (sql) => {
    await sql.unsafe(lockPublisher);
    await change(sql);
    await servers.gateway(group, "DELETE").catch((error: Refusal) => {
      throw new Refusal(...error.lines, "Nothing is changed: the gateway has not deleted them.");
    });
  });
  print("The counters on the gateway are deleted. The next tick fills them in again.");
}

async function takeback(context: Context, ...words: string[]): Promise<void> {
  const { confirmed, ledger, print } = context;
  const [id = "", ...more] = words;
  if (!id) throw new Refusal("Nothing is taken back. Say which delivery: sweeps lists the last.");
  const isNow = more.includes("now");
  const number = more.find((word) => /^\d+$/.test(word));
  const kind = more.find((word) => word !== "now" && word !== number) ?? "";
  const counted = await ledger.read(
    (sql) => sql<{ words: string }[]>`select words from ledger_metrics.deliveries where id = ${id}`,
  );
  if (!counted[0]) throw new Refusal(`Nothing is taken back: no delivery of the last 14 days has the id ${id}.`);
  if (isNow) await hasCounters(context);
  print(`${id} has counted: ${counted[0].words}`);
  await confirmed(`to take back ${number ? `${number} ` : ""}${kind || "all"} of this`);
  const change = (sql: Sql) => takeBack(context, sql, { id, kind, number, isNow });
  try {
    await (isNow ? correctNow(context, change) : ledger.correct(change));
  } catch (error) {
    if ((error as { code?: string }).code !== "23505") throw error;
    throw new Refusal("Nothing is taken back: it was taken back before.");
  }
}

interface Taken {
  id: string;
  kind: string;
  number: string | undefined;
  isNow: boolean;
}

/** Takes back what a delivery has counted: from the totals at once, or from what comes next. */
async function takeBack({ ledger }: Context, sql: Sql, { id, kind, number, isNow }: Taken): Promise<void> {
  const change = isNow ? sql`value = value - chosen.number` : sql`ahead = ahead + chosen.number`;
  const taken = await ledger.show(sql`
    with wrong as (
      select words, substring(words from '([^ ]+) sweep second')::numeric as seconds from ledger_metrics.deliveries
      where id = ${id}
    ), counted as (
      select 'action ' || (labels ->> 'phase') as kind, name, labels,
        substring(words from '(\\d+) actions? ' || (labels ->> 'phase') || '(?:,|$)')::numeric as number
      from wrong, ledger_metrics.totals where name = 'veza_reconciler_actions_total'
      union all
      select 'orphan refund', name, labels, substring(words from '(\\d+) orphan refund')::numeric
      from wrong, ledger_metrics.totals where name = 'veza_reconciler_orphan_refunds_total'
      union all
      -- The buckets of several sweeps are not known.
      select 'sweep', name, labels, case when name like '%\\_sum' then seconds else 1 end
      from wrong, ledger_metrics.totals where words ~ '\\m1 sweep(,|$)'
        and (name in ('veza_reconciler_sweep_duration_seconds_sum', 'veza_reconciler_sweep_duration_seconds_count')
          or name = 'veza_reconciler_sweep_duration_seconds_bucket'
            and (labels ->> 'le' = '+Inf' or (labels ->> 'le')::numeric >= seconds))
    ), chosen as (
      select kind, name, labels, coalesce(given, number) as number
      from counted, (select ${number ?? null}::text::numeric) as asked (given)
      where number > 0 and ${kind}::text in ('', kind)
        and (given is null or kind <> 'sweep' and given between 1 and number)
    ), changed as (
      update ledger_metrics.totals as total set ${change} from chosen
      where total.name = chosen.name and total.labels = chosen.labels
      returning kind, chosen.number
    )
    -- Once for each delivery and kind: a second time, this id is there.
    insert into ledger_metrics.deliveries (id, digest, words)
      select kind || ' of ' || ${id}::text, '', 'taken back' from changed group by kind
      returning id as "taken back"`);
  // So that nothing is deleted on the gateway either.
  if (taken === 0) throw new Refusal("Nothing is taken back: it has counted no such event, or not so many.");
}

export const correctionCommands: Command[] = [
  {
    name: "takeback",
    calls: ["takeback ID [KIND [NUMBER]] [now]"],
    help:
      "Takes back what one delivery has counted and should not have. No counter falls: the next events of the kind " +
      "are left out instead. With now, the number is right at once, and the counter falls.",
    run: takeback,
  },
  {
    name: "drop_group",
    calls: ["drop_group"],
    help: "Deletes this stage's counters on the gateway where they are too high. The next tick fills them in again.",
    async run(context) {
      await context.ledger.read(async () => {});
      await hasCounters(context);
      await context.confirmed("if the gateway shows more than was ever counted");
      await correctNow(context, async () => {});
    },
  },
  {
    name: "resend",
    calls: ["resend SINCE"],
    help:
      "Has the reconciler's outbox send again what it has sent since then, such as '2026-01-31 12:00Z'. What was " +
      "counted before counts once.",
    async run({ ledger, line, print, secret }, ...words) {
      const since = words.join(" ");
      if (!since) throw new Refusal("Nothing is sent again. Say since when: resend '2026-01-31 12:00Z'");
      const login = await line(
        "Login of the backend that sends, or a URL without password if its outbox is in another database",
      );
      if (!login) throw new Refusal("Nothing is sent again.");
      const password = await secret("Its password");
      await ledger.asLogin(login, password, async (sql) => {
        const sent = await ledger.show(sql`
          update ledger_outbox.deliveries
          set sent_at = null, claimed_until = null, attempts = 0, next_attempt_at = now()
          where (sent_at >= ${since}::text::timestamptz and first_sent_at > now() - interval '13 days')
            or claimed_until is not null
          returning id as "sent again"`);
        print(`${sent} are sent again.`);
      });
    },
  },
  {
    name: "retire_phase",
    calls: ["retire_phase PHASE"],
    help: "Ends the alert about a phase that no sweep names any more.",
    async run({ ledger }, phase) {
      if (!phase) throw new Refusal("Nothing is done. Which phase? retire_phase stuck_orders");
      await ledger.read(async () => {});
      await ledger.correct(async (sql) => {
        const forgotten = await ledger.show(sql`
          update ledger_metrics.totals set value = 0
          where name = 'veza_reconciler_phase_last_run_timestamp_seconds' and labels ->> 'phase' = ${phase}
          returning labels ->> 'phase' as "forgotten until a sweep names it again"`);
        if (forgotten === 0) throw new Refusal(`Nothing is done: no sweep has ever named the phase ${phase}.`);
      });
    },
  },
];
