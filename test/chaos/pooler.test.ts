// Behind a pooler in transaction mode that mixes answers up, as PgBouncer does before 1.21: nothing is confirmed that is
// not stored, nothing is refused that is new, and no count is wrong. CHAOS_SECONDS and CHAOS_SEED are as in
// chaos.test.ts.

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { randomFrom } from "../../bench/random.ts";
import { checks } from "../../lib/counts/checks.ts";
import { seriesOf } from "../../lib/counts/counting.ts";
import { type Sample, takeSample } from "../../lib/counts/sample.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { keyOf } from "../../lib/gateway/exposition.ts";
import { sampleTimeoutMs } from "../../lib/limits.ts";
import { keepConnections } from "../../lib/postgres/connections.ts";
import { createDatabase, serverForFile, targetOf } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { startPgbouncer } from "../helpers/pgbouncer.ts";
import { startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { newSecret, startReceiver } from "../helpers/receiver.ts";
import * as chaos from "./deliveries.ts";

const seconds = Number(process.env.CHAOS_SECONDS ?? 6);
const seed = Number(process.env.CHAOS_SEED ?? randomBytes(4).readUInt32LE());
const each = <T>(count: number, work: (index: number) => T) => Array.from({ length: count }, (_, index) => work(index));
const moreMs = 120_000;
const say = (line: string) => process.stdout.write(`chaos behind PgBouncer: ${line}\n`);

const serverUrl = await serverForFile();

/** How many rows each check counts: no two the same, so that an answer to another question shows. */
const counts = checks.map((_, index) => 11 * (index + 1));

/** A ledger with these counts, and slow, behind PgBouncer, whose clients can be cut off. */
async function startStack() {
  const database = await createDatabase(serverUrl);
  for (const [index, check] of checks.entries()) await database.admin.unsafe(insertRows(check, counts[index] ?? 0));
  await database.admin.unsafe(`
    alter table orders rename to all_orders;
    create view orders as with slow as materialized (select pg_sleep(0.1)) select all_orders.* from slow, all_orders;
    grant select on orders to veza_ledger;
    alter role veza_ledger connection limit 50`);
  const port = await startPgbouncer(serverUrl, { veza_ledger: "both" }, { serverConnections: 12 });
  // Each has a way of its own to the pooler. Samplers and receivers share a login, as on a host, and so the pooler's
  // connections to the server: an answer that is due to one that was cut off may go to any other.
  const way = async () => {
    const proxy = await startProxy(port);
    return { ...proxy, url: database.bothUrl.replace(/:\d+\//, `:${proxy.port}/`) };
  };
  const [samplers, toReceivers] = [await Promise.all(each(3, way)), await Promise.all(each(2, way))];
  const secret = newSecret();
  const receivers = await Promise.all(
    toReceivers.map(({ url }) => startReceiver({ DATABASE_URL: url, WEBHOOK_SECRET: secret, STAGE: "pooler" })),
  );
  return { database, samplers, toReceivers, receivers, secret };
}

type Stack = Awaited<ReturnType<typeof startStack>>;

/** What a sample says, by series: all that stays as it is while no row changes. */
function saidBy({ outcomes, evidence, open }: Sample): Map<string, number> {
  const said = [...seriesOf(outcomes, 0, open), ...evidence];
  return new Map(said.filter(({ name }) => !/inserts|_age_/.test(name)).map((series) => [keyOf(series), series.value]));
}

/** Ticks, one after the other, until it is over. Adds each series that is wrong, and neither absent nor unknown. */
async function tick(
  url: string,
  right: Map<string, number>,
  ticks: { done: number; wrong: unknown[] },
  isOver: () => boolean,
) {
  const connections = keepConnections("chaos")(async () => targetOf(url));
  while (!isOver()) {
    const sample = await takeSample(connections, deadlineFor("Postgres", sampleTimeoutMs));
    await connections.closeFree();
    const failed = sample.outcomes.filter((outcome) => "error" in outcome).map(({ check }) => check);
    const isUnknown = (key: string) => failed.some(({ metric, id }) => key.includes(metric) || key.includes(`"${id}"`));
    for (const [key, value] of saidBy(sample)) {
      if (value !== right.get(key) && !isUnknown(key)) ticks.wrong.push({ [key]: value });
    }
    if (failed.length === 0) ticks.done += 1;
  }
}

/** Sends until it is over. */
async function send({ receivers, secret }: Stack, index: number, deliveries: chaos.Delivery[], isOver: () => boolean) {
  const random = randomFrom(seed + 1 + index);
  for (let number = 0; !isOver(); number += 1) {
    const { delivery, body } = chaos.randomDelivery(`pooler_${index}_${number}`, random);
    deliveries.push(delivery);
    const { url = "" } = receivers[Math.floor(random() * receivers.length)] ?? {};
    await chaos.sendUntilConfirmed(
      200,
      random,
      delivery,
      async () => void (await chaos.send(url, secret, delivery, body)),
    );
  }
}

/** Cuts each sampler off each 0.15 to 0.75 s, and receivers more rarely. Ends or cancels what runs on the server. */
async function strike({ database, samplers, toReceivers }: Stack, isOver: () => boolean) {
  const struck = { cut: 0, ended: 0, cancelled: 0 };
  const signal = (how: "terminate" | "cancel") =>
    database.admin.unsafe(`
    select pg_${how}_backend(pid) from pg_stat_activity
    where datname = current_database() and usename = 'veza_ledger' and state <> 'idle' order by random() limit 1`);
  const cutOff = async (way: TcpProxy, index: number) => {
    const random = randomFrom(seed - 1 - index);
    while (!isOver()) {
      await sleep(150 + random() * 600);
      // Right behind a piece of an answer, the next one is due.
      if (random() < 0.5) way.cutAfterNextPiece(random() < 0.5);
      else way.cut(random() < 0.5);
      if (random() < 0.1) for (const other of toReceivers) other.cut(random() < 0.5);
      struck.cut += 1;
      const kind = random();
      if (kind < 0.1) struck.ended += (await signal("terminate")).length;
      else if (kind < 0.2) struck.cancelled += (await signal("cancel")).length;
    }
  };
  await Promise.all(samplers.map(cutOff));
  return struck;
}

it("confirms, refuses and counts nothing by the answers of others", {
  timeout: seconds * 1000 + moreMs + 120_000,
}, async () => {
  say(`CHAOS_SEED=${seed} CHAOS_SECONDS=${seconds}`);
  captureLog();
  const stack = await startStack();
  const { database } = stack;
  const direct = keepConnections("chaos")(async () => targetOf(database.bothUrl));
  const right = saidBy(await takeSample(direct, deadlineFor("Postgres", 60_000)));
  await direct.closeFree();
  expect(checks.map(({ metric }) => right.get(`${metric}{}`))).toEqual(counts);

  const endsAt = Date.now() + seconds * 1000;
  const ticks = { done: 0, wrong: [] };
  const deliveries: chaos.Delivery[] = [];
  /** A run in which little happened would prove little; a busy machine may take longer for it. */
  const hasProven = () => ticks.done > 10 && deliveries.length > 40;
  const isOver = () => Date.now() > endsAt && (hasProven() || Date.now() > endsAt + moreMs);
  const [struck] = await Promise.all([
    strike(stack, isOver),
    ...stack.samplers.map(({ url }) => tick(url, right, ticks, isOver)),
    ...each(12, (index) => send(stack, index, deliveries, isOver)),
  ]);

  const answers = chaos.sumOf(deliveries.flatMap((delivery) => delivery.answers.map((answer) => ({ [answer]: 1 }))));
  say(JSON.stringify({ deliveries: deliveries.length, answers, ticks, struck }));
  expect(ticks.wrong).toEqual([]);
  expect(Object.keys(answers).filter((answer) => answer.startsWith("409"))).toEqual([]);
  const busy = () => database.admin`select from pg_stat_activity where usename = 'veza_ledger' and state <> 'idle'`;
  await expect.poll(busy).toHaveLength(0); // What has got a 503 may still be under way.
  await chaos.expectTheRecordedCounted(database.admin, deliveries);
  expect(hasProven() && struck.cut > 10).toBe(true);
});
