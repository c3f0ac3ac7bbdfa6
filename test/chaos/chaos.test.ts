import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, ScheduledEvent } from "aws-lambda";
import postgres from "postgres";
import { expect, it, onTestFinished, vi } from "vitest";
import { handler as sampler } from "../../handlers/sampler.ts";
import { runSqlFiles } from "../../local/sql.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { scrape } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { type Program, runScript } from "../helpers/processes.ts";
import { newSecret } from "../helpers/receiver.ts";
import * as chaos from "./deliveries.ts";
import { type Restartable, restartablePostgres, restartablePushgateway, startProxy } from "./servers.ts";

const seconds = Number(process.env.CHAOS_SECONDS ?? 12);
const seed = Number(process.env.CHAOS_SEED ?? randomBytes(4).readUInt32LE());
const timeout = (seconds + 120) * 1000;
const say = (line: string) => process.stdout.write(`chaos: ${line}\n`);

it("counts each delivery once, and no counter falls, while everything around it fails", { timeout }, async () => {
  say(`CHAOS_SEED=${seed} CHAOS_SECONDS=${seconds}`);
  const [database, gateway] = await Promise.all([restartablePostgres(), restartablePushgateway()]);
  const [toDatabase, toGateway] = await Promise.all([startProxy(database.port), startProxy(gateway.port)]);
  const adminUrl = `postgres://postgres:postgres@127.0.0.1:${database.port}/postgres`;
  await runSqlFiles(adminUrl, ["local/ledger.sql", "config/postgres/schema.sql", "config/postgres/roles.sql"]);
  const admin = postgres(adminUrl, { max: 1 });
  onTestFinished(() => admin.end({ timeout: 0 }));
  const secret = newSecret();
  const password = randomBytes(16).toString("hex");
  await admin.unsafe(`alter role veza_ledger_sampler password '${password}'`);
  await admin.unsafe(`alter role veza_ledger_receiver password '${password}'`);
  const settingsOf = (role: string) => ({
    DATABASE_URL: `postgres://veza_ledger_${role}:${password}@127.0.0.1:${toDatabase.port}/postgres`,
    PUSHGATEWAY_URL: `http://127.0.0.1:${toGateway.port}`,
    PUSHGATEWAY_TOKEN: undefined,
    WEBHOOK_SECRET: secret,
    STAGE: "chaos",
    SECRET_ID: undefined,
  });

  // Three receivers. One that ends without having been killed has crashed.
  const programs: Program[] = [];
  const crashes: string[] = [];
  const startReceiver = async () => {
    const program = runScript("test/programs/receiver.ts", [], settingsOf("receiver"));
    programs.push(program);
    program.exited.then(() => program.child.signalCode !== "SIGKILL" && crashes.push(program.output()));
    return { program, url: await program.printed(/receiver (\S+)/) };
  };
  const receivers = await Promise.all([startReceiver(), startReceiver(), startReceiver()]);
  const kill = async (index: number) => {
    const program = receivers[index]?.program;
    program?.child.kill("SIGKILL");
    await program?.exited;
  };

  // The observer looks at the gateway itself, all the time. A counter may be absent after a wipe, and never be lower.
  const highest: chaos.Totals = {};
  const falls: string[] = [];
  let scrapes = 0;
  const observe = async () => {
    const series = await scrape("chaos", `http://127.0.0.1:${gateway.port}`);
    scrapes += 1;
    for (const [name, value] of Object.entries(series)) {
      if (!/_total|_count$/.test(name)) continue;
      const before = highest[name] ?? 0;
      if (value < before) falls.push(`${name} from ${before} to ${value}`);
      highest[name] = value;
    }
    return series;
  };
  let isOver = false;
  const observing = (async () => {
    // The gateway may be down at this moment.
    while (!isOver) await Promise.all([observe().catch(() => {}), sleep(5)]);
  })();

  // The sampler ticks about once a second. A tick may fail, and has to end in time.
  const samplerLog = captureLog();
  setEnvironment(settingsOf("sampler"));
  const ticks = { done: 0, failed: 0, longestMs: 0 };
  const tick = async () => {
    const startedAt = performance.now();
    const ended = await Promise.resolve(sampler({} as ScheduledEvent, {} as Context, () => {})).then(
      () => "done" as const,
      () => "failed" as const,
    );
    ticks[ended] += 1;
    ticks.longestMs = Math.max(ticks.longestMs, performance.now() - startedAt);
    return ended;
  };
  const endsAt = Date.now() + seconds * 1000;
  const ticking = (async () => {
    while (Date.now() < endsAt) await Promise.all([tick(), sleep(1000)]);
  })();

  // Eight senders. Each has random numbers of its own, so that a seed gives the same deliveries again.
  const deliveries: chaos.Delivery[] = [];
  let longestMs = 0;
  const newDelivery = (id: string, random: () => number) => {
    const { delivery, body } = chaos.randomDelivery(id, random);
    deliveries.push(delivery);
    const sendOnce = async (patience?: number, index = Math.floor(random() * receivers.length)) => {
      const url = receivers[index]?.url ?? "";
      longestMs = Math.max(longestMs, await chaos.send(url, secret, delivery, body, patience));
    };
    return { delivery, sendOnce };
  };
  const sending = Array.from({ length: 8 }, async (_, index) => {
    const random = chaos.randomFrom(seed + 1 + index);
    for (let number = 0; Date.now() < endsAt; number += 1) {
      const { delivery, sendOnce } = newDelivery(`chaos_${index}_${number}`, random);
      // Some give up at once. The others go on: 200 times is enough until everything is repaired.
      await chaos.sendUntilConfirmed(random() < 0.05 ? 1 : 200, random, delivery, sendOnce);
    }
  });

  // What is being restarted is left alone until it is there again.
  const restarting = new Set<unknown>();
  const restart = async (part: unknown, ms: number, stop: () => Promise<void>, start: () => Promise<unknown>) => {
    if (restarting.has(part)) return;
    restarting.add(part);
    await stop();
    await sleep(ms);
    await start();
    restarting.delete(part);
  };
  const restartServer = (server: Restartable, ms: number) => restart(server, ms, server.kill, server.start);
  const restartReceiver = (index: number, ms: number) =>
    restart(
      index,
      ms,
      () => kill(index),
      async () => {
        receivers[index] = await startReceiver();
      },
    );
  const faults: Record<string, { cards: number; strike(ms: number, choice: number): unknown }> = {
    "Postgres cut": { cards: 3, strike: (_, choice) => toDatabase.cut(choice < 0.5) },
    "Postgres answer lost": { cards: 3, strike: (_, choice) => toDatabase.cutAfterNextPiece(choice < 0.5) },
    "Postgres muted": { cards: 1, strike: (ms) => toDatabase.mute(ms) },
    "Postgres killed": { cards: 1, strike: (ms) => restartServer(database, ms) },
    "gateway cut": { cards: 3, strike: (_, choice) => toGateway.cut(choice < 0.5) },
    "gateway answer lost": { cards: 3, strike: (_, choice) => toGateway.cutAfterNextPiece(choice < 0.5) },
    "gateway muted": { cards: 1, strike: (ms) => toGateway.mute(ms) },
    "gateway wiped": { cards: 1, strike: (ms) => restartServer(gateway, ms) },
    "receiver killed": { cards: 3, strike: (ms, choice) => restartReceiver(Math.floor(choice * 3), ms) },
  };
  // They are dealt like cards, so that each kind has its turn. They overlap: none waits for the one before.
  const random = chaos.randomFrom(seed);
  const struck: Record<string, number> = {};
  const striking: unknown[] = [];
  let deck: string[] = [];
  while (Date.now() < endsAt) {
    await sleep(random() * 400);
    if (deck.length === 0) deck = Object.entries(faults).flatMap(([kind, { cards }]) => Array(cards).fill(kind));
    const [kind = ""] = deck.splice(Math.floor(random() * deck.length), 1);
    struck[kind] = (struck[kind] ?? 0) + 1;
    striking.push(faults[kind]?.strike(random() * 1000, random()));
  }

  // Each fault repairs what it broke. Then every receiver has to work again, each by itself.
  await Promise.all([...striking, ticking, ...sending]);
  expect(crashes).toEqual([]);
  for (const index of receivers.keys()) {
    const { delivery, sendOnce } = newDelivery(`chaos_last_${index}`, random);
    await sendOnce(undefined, index);
    expect(delivery.answers).toEqual(["200 recorded"]);
  }
  // What a sender has hung up on may still be under way. It is over when no session is left.
  await Promise.all([...receivers.keys()].map(kill));
  const sessions = () => admin`select from pg_stat_activity where usename = 'veza_ledger_receiver'`;
  await vi.waitFor(async () => expect(await sessions()).toHaveLength(0), { timeout: 10_000 });
  expect(await tick()).toBe("done");
  isOver = true;
  await observing;
  const series = await observe();

  const answers = chaos.sumOf(deliveries.flatMap((delivery) => delivery.answers.map((answer) => ({ [answer]: 1 }))));
  const events = deliveries.reduce((sum, { size }) => sum + size, 0);
  const figures = { deliveries: deliveries.length, events, answers, faults: struck, longestMs, ticks, scrapes };
  say(JSON.stringify(figures, (_, value) => (typeof value === "number" ? Math.round(value) : value)));

  // Confirmed deliveries are recorded, and the totals are those of the recorded ones: in Postgres and on the gateway.
  const recorded = new Set((await admin`select id from ledger_metrics.deliveries`).map(({ id }) => id));
  expect(deliveries.filter((delivery) => chaos.isConfirmed(delivery) && !recorded.has(delivery.id))).toEqual([]);
  const counted = deliveries.filter(({ id }) => recorded.has(id));
  expect(counted).toHaveLength(recorded.size);
  const expected = chaos.sumOf(counted.map(({ adds }) => adds));
  const rows = await admin`
    select name || coalesce((select '{' || key || '="' || label || '"}' from jsonb_each_text(labels) as pair (key, label)), '')
      as series, value::float8 from ledger_metrics.totals`;
  expect(Object.fromEntries(rows.map(({ series, value }) => [series, value]))).toEqual(expected);
  expect(series).toMatchObject(expected);
  expect(falls).toEqual([]);

  const timesRecorded = deliveries.map(({ answers }) => answers.filter((answer) => answer === "200 recorded").length);
  expect(Math.max(...timesRecorded)).toBe(1);
  expect(["200 recorded", "200 duplicate", "503 not confirmed", "lost", "hung up"]).toEqual(
    expect.arrayContaining(Object.keys(answers)),
  );
  expect(longestMs).toBeLessThan(15_000);
  expect(ticks.longestMs).toBeLessThan(25_000);
  expect(crashes).toEqual([]);
  const output = programs.map((program) => program.output()).join("") + JSON.stringify(samplerLog);
  expect(output).not.toMatch(/(^|\\n) +at /m);
  const hidden = [secret.replace("whsec_", ""), password, "postgres://"];
  expect(hidden.filter((text) => output.includes(text))).toEqual([]);

  // A run in which little happened would prove little.
  expect(Object.keys(struck)).toHaveLength(Object.keys(faults).length);
  expect(events).toBeGreaterThan(seconds < 150 ? 1_000 : 100_000);
  expect(Math.min(scrapes, ticks.done, answers["200 duplicate"] ?? 0)).toBeGreaterThan(2);
});
