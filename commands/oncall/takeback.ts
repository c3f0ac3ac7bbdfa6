// Takes back what a delivery has counted and should not have.
import { phases } from "../../lib/totals/events.ts";
import type { Command, Context } from "./command.ts";
import { correctNow, hasCounters } from "./corrections.ts";
import type { Sql } from "./postgres.ts";
import { Refusal } from "./terminal.ts";

const kinds = [...phases.map((phase) => `action ${phase}`), "orphan refund", "sweep"];

export interface Taken {
  id: string;
  /** Empty: all that the delivery has counted. */
  kind: string;
  /** How many events of the kind, in digits. Undefined: all of the kind. */
  number: string | undefined;
  /** Whether the counter falls at once. */
  isNow: boolean;
}

/** What the words after `takeback` mean. Refuses an unknown kind, and a number where it means nothing. */
export function takenOf([id = "", ...more]: string[]): Taken {
  const refuse = (why: string) => new Refusal(`Nothing is taken back${why}`);
  if (!id) throw refuse(". Say which delivery: sweeps lists the last.");
  const isNow = more.at(-1) === "now";
  const words = isNow ? more.slice(0, -1) : more;
  const number = /^\d+$/.test(words.at(-1) ?? "") ? words.pop() : undefined;
  const kind = words.join(" ");
  if (kind && !kinds.includes(kind)) throw refuse(`: there is no kind '${kind}'. The kinds are: ${kinds.join(", ")}`);
  if (number && (kind === "" || kind === "sweep")) {
    throw refuse(": a number goes with an action or with orphan refund, as in: takeback ID orphan refund 2");
  }
  return { id, kind, number, isNow };
}

async function takeback(context: Context, ...words: string[]): Promise<void> {
  const { confirmed, ledger, print } = context;
  const taken = takenOf(words);
  const { id, kind, number, isNow } = taken;
  const counted = await ledger.read(
    (sql) => sql<{ words: string }[]>`select words from ledger_metrics.deliveries where id = ${id}`,
  );
  if (!counted[0]) throw new Refusal(`Nothing is taken back: no delivery of the last 14 days has the id ${id}.`);
  if (isNow) await hasCounters(context);
  print(`${id} has counted: ${counted[0].words}`);
  await confirmed(`to take back ${number ? `${number} ` : ""}${kind || "all"} of this`);
  const change = (sql: Sql) => takeBack(context, sql, taken);
  try {
    await (isNow ? correctNow(context, change) : ledger.correct(change));
  } catch (error) {
    if ((error as { code?: string }).code !== "23505") throw error;
    throw new Refusal("Nothing is taken back: it was taken back before.");
  }
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
        and (given is null or given between 1 and number)
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

export const takebackCommands: Command[] = [
  {
    name: "takeback",
    calls: ["takeback ID [KIND [NUMBER]] [now]"],
    help:
      "Takes back what one delivery has counted and should not have. No counter falls: the next events of the kind " +
      "are left out instead. With now, the number is right at once, and the counter falls.",
    run: takeback,
  },
];
