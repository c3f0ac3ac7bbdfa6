import { hash } from "node:crypto";
import type { Sql } from "postgres";
import type { Series } from "../gateway/exposition.ts";
import { idsKeptDays } from "../limits.ts";
import { ownAnswer } from "../postgres/own-answer.ts";
import { beginWriting } from "../postgres/transaction.ts";
import { AnotherStage } from "./another-stage.ts";
import { nounOf, runs } from "./events.ts";
import { Refusal } from "./refusal.ts";

/** What became of a delivery: `recorded` now, or a `duplicate` of a delivery that added the same. */
export type DeliveryStatus = "recorded" | "duplicate";

export interface Delivery {
  id: string;
  /** What it adds to the totals, a series at most once. */
  increments: Series[];
  /** The receiver's. */
  stage?: string | undefined;
}

interface Answer {
  /** Whose totals these are. */
  stage: string;
  /** The digest and the words under this id, and whether they are this delivery's. */
  known: string | null;
  counted: string;
  isNew: boolean | null;
}

const runNames = runs.map((name) => `'${name}'`).join(", ");
/** SQL: no last run is later, by Postgres' clock: a clock that was ahead once would hide for years that none runs. */
const nowSeconds = "extract(epoch from now())::numeric";

/** How many old ids a delivery deletes at most. Each delivery adds one, so one alone would never catch up. */
const maxPurged = 100;

/**
 * Records a delivery and adds its increments to the totals, or does neither: one message is one transaction. A replay
 * counts as an attempt and changes nothing else. Throws a Refusal, 409, when the id is known for other increments:
 * these are lost, unless they are sent under another id.
 *
 * A total can be `ahead` of what was recorded, after a repaired loss or a correction. Then an increment first makes
 * that smaller, and only the rest of it raises the total.
 *
 * The first delivery makes the database its stage's. Throws AnotherStage for a delivery to any other stage.
 *
 * Increments are written in one fixed order: in the order of arrival, two deliveries could deadlock on two rows. Also
 * forgets up to 100 deliveries that are older than `idsKeptDays`.
 */
export async function recordDelivery(sql: Sql, { id, increments, stage = "" }: Delivery): Promise<DeliveryStatus> {
  const digest = digestOf(increments);
  const words = wordsOf(increments);
  // A literal, since parameters would cost another round trip. Nothing in base64 can end it.
  const given = JSON.stringify({ id, digest, words, increments, stage });
  const literal = `'${Buffer.from(given).toString("base64")}'`;
  const question = `
    with given as (
      select id, digest, words, increments, stage
      from jsonb_to_record(convert_from(decode(${literal}, 'base64'), 'utf8')::jsonb)
        as delivery (id text, digest text, words text, increments jsonb, stage text)
    ), claimed as (
      insert into ledger_metrics.stage (stage) select stage from given
      where not exists (select from ledger_metrics.stage)
      -- Sets nothing, and returns the row of a delivery that was first at the same moment, after its commit.
      on conflict (single) do update set single = excluded.single returning stage
    ), stored as (
      select coalesce((select stage from ledger_metrics.stage), (select stage from claimed)) as stage
    ), written as (
      insert into ledger_metrics.deliveries as known (id, digest, words)
      select id, digest, words from given join stored using (stage)
      on conflict (id) do update set attempts = known.attempts + 1
      returning digest as known, words as counted, attempts = 1 as "isNew"
    ), added as (
      insert into ledger_metrics.totals as total (name, labels, value)
      select name, labels, case when name in (${runNames}) then least(value, ${nowSeconds}) else value end
      from given, jsonb_to_recordset(increments) as increment (name text, labels jsonb, value numeric)
      where (select "isNew" from written)
      order by name, labels
      on conflict (name, labels) do update set ahead = greatest(0, total.ahead - excluded.value),
        value = case
          when total.name in (${runNames}) then greatest(least(total.value, ${nowSeconds}), excluded.value)
          else total.value + greatest(0, excluded.value - total.ahead)
        end
    ), purged as (
      delete from ledger_metrics.deliveries where id in (
        select old.id from ledger_metrics.deliveries as old, given
        -- Not the given row: what becomes of a row that one statement changes twice cannot be predicted.
        where received_at < now() - interval '${idsKeptDays} days' and old.id <> given.id
        order by received_at limit ${maxPurged}
        for update of old skip locked
      )
    )
    select stored.stage, known, counted, "isNew" from stored left join written on true`;
  const [row] = await ownAnswer<Answer>(sql, beginWriting, question);
  if (row && row.stage !== stage) throw new AnotherStage(row.stage, stage);
  if (typeof row?.isNew !== "boolean") throw new Error("Postgres did not say whether it has recorded the delivery");
  if (row.isNew) return "recorded";
  if (row.known === digest) return "duplicate";
  const sums = `counted under this id: ${row.counted}; this delivery: ${words}`;
  throw new Refusal(409, `webhook-id: was recorded for other events: ${sums}`);
}

/** Says what a delivery adds, such as `2 actions stuck_orders, 1 sweep, 1.84 sweep seconds`. */
function wordsOf(increments: Series[]): string {
  const words = increments.flatMap(({ name, labels, value }) => {
    const noun = nounOf.get(name);
    return noun ? [[value, value === 1 ? noun : `${noun}s`, ...Object.values(labels)].join(" ")] : [];
  });
  return words.sort().join(", ") || "nothing";
}

/**
 * Identifies what a delivery adds, so that a body built again with other timestamps is a replay. Leaves out the last
 * runs, which depend on the time of receipt. The database keeps digests for 14 days: made in another way, those of a
 * delivery and of its replay would differ.
 */
function digestOf(increments: Series[]): string {
  const sums = increments.filter(({ name }) => !runs.includes(name));
  const texts = sums.map(({ name, labels, value }) => JSON.stringify([name, labels, value]));
  return hash("sha256", texts.sort().join());
}
