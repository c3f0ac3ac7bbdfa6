// What people do by day about lost and wrong events.
import { lockPublisher } from "../../lib/postgres/transaction.ts";
import type { Command, Context } from "./command.ts";
import { lastPushes } from "./gateway-page.ts";
import type { Sql } from "./postgres.ts";
import { Refusal } from "./terminal.ts";

/** Says when the counters of the stage were pushed last. Refuses where the gateway has none. */
export async function hasCounters({ print, servers, stage }: Context): Promise<void> {
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
export async function correctNow(context: Context, change: (sql: Sql) => Promise<void>): Promise<void> {
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

export const correctionCommands: Command[] = [
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
      "counted before counts once. What was first sent over 13 days ago is left out.",
    async run({ ledger, line, print }, ...words) {
      const since = words.join(" ");
      if (!since) throw new Refusal("Nothing is sent again. Say since when: resend '2026-01-31 12:00Z'");
      await ledger.read(async () => {});
      const login = await line("Login of the backend (a URL if its outbox is in another database)");
      if (!login) throw new Refusal("Nothing is sent again.");
      const isUrl = /^postgres(ql)?:\/\/[^/:@]+@[^/@]+\/./.test(login) && URL.canParse(login);
      if (login.includes("://") && !isUrl) {
        throw new Refusal("Nothing is sent again: a URL has to be postgres://LOGIN@HOST:5432/DATABASE");
      }
      // A receiver that is gone may have answered what is claimed. After 14 days, it forgets an id.
      const { count } = await ledger.asLogin(
        login,
        (sql) => sql`
          update ledger_outbox.deliveries
          set sent_at = null, claimed_until = null, attempts = 0, next_attempt_at = now()
          where (sent_at >= ${since}::text::timestamptz and first_sent_at > now() - interval '13 days')
            or claimed_until is not null`,
      );
      print(`${count} deliveries are sent again.`);
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
