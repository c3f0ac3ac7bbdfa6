// Deliveries and ticks while everything around them fails: CHAOS_SECONDS says for how long, CHAOS_SEED repeats a run.

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, ScheduledEvent } from "aws-lambda";
import { expect, it } from "vitest";
import { randomFrom } from "../../bench/random.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { makeCertificates, tlsFlags } from "../helpers/certificates.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { scrape } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { type Program, runScript } from "../helpers/processes.ts";
import { startProxy } from "../helpers/proxy.ts";
import { newSecret } from "../helpers/receiver.ts";
import { startStopwatch } from "../helpers/stopwatch.ts";
import { startTlsFront } from "../helpers/tls.ts";
import * as chaos from "./deliveries.ts";
import { type Restartable, restartableLedger, restartablePushgateway, sessionOn, settingsOn } from "./servers.ts";

const seconds = Number(process.env.CHAOS_SECONDS ?? 6);
const seed = Number(process.env.CHAOS_SEED ?? randomBytes(4).readUInt32LE());
/** A busy machine may take so much longer to let enough happen. */
const moreMs = 200_000;
const timeout = seconds * 1000 + moreMs + 120_000;
const say = (line: string) => process.stdout.write(`chaos: ${line}\n`);

it("counts each delivery once, and no counter falls for long, whatever fails", { timeout }, async () => {
  say(`CHAOS_SEED=${seed} CHAOS_SECONDS=${seconds}`);
  const stack = await startStack();
  const receivers = await Promise.all(Array.from({ length: 3 }, () => startReceiver(stack)));
  const observer = startObserver(stack);
  const endsAt = Date.now() + seconds * 1000;
  const isOver = () => Date.now() > endsAt && (hasProven() || Date.now() > endsAt + moreMs);
  const ticker = startTicker(stack, isOver);
  const senders = startSenders(stack, receivers, isOver);
  const answersOf = () =>
    chaos.sumOf(senders.deliveries.flatMap(({ answers }) => answers.map((answer) => ({ [answer]: 1 }))));
  const eventsOf = () => senders.deliveries.reduce((sum, { size }) => sum + size, 0);
  /** A run in which little happened would prove little. */
  const hasProven = () =>
    eventsOf() > (seconds < 150 ? 500 : 100_000) && Math.min(ticker.ticks.done, answersOf()["200 duplicate"] ?? 0) > 2;
  const struck = await strike(stack, receivers, isOver);
  await Promise.all([ticker.ended, senders.ended]);

  await endReceivers(stack, receivers);
  expect(await ticker.tick()).toBe("done");
  const { series, falls, scrapes } = await observer.end();

  const { deliveries, longestMs } = senders;
  const [answers, events] = [answersOf(), eventsOf()];
  const { ticks } = ticker;
  say(JSON.stringify({ deliveries: deliveries.length, events, answers, struck, longestMs, ticks, scrapes, falls }));

  expect(series).toMatchObject(await chaos.expectTheRecordedCounted(stack.admin, deliveries));
  // Only a receiver that was stopped in mid-push, and lost its lock meanwhile, may have pushed older numbers.
  expect(falls.length).toBeLessThanOrEqual(struck["receiver stopped"] ?? 0);
  expect(Math.max(0, ...falls)).toBeLessThan(1_000);
  const timesRecorded = deliveries.map(({ answers }) => answers.filter((answer) => answer === "200 recorded").length);
  expect(Math.max(...timesRecorded)).toBe(1);
  expect(["200 recorded", "200 duplicate", "503 not confirmed", "lost", "hung up"]).toEqual(
    expect.arrayContaining(Object.keys(answers)),
  );
  expect(longestMs).toBeLessThan(15_000);
  expect(ticks.longestMs).toBeLessThan(25_000);
  expect(stack.crashes).toEqual([]);

  expect(Object.values(struck)).not.toContain(0);
  expect(hasProven()).toBe(true);
  expect(scrapes).toBeGreaterThan(2);
});

type Stack = Awaited<ReturnType<typeof startStack>>;

/** A real Postgres and Pushgateway, each with TLS behind a proxy, and what the functions need to know of them. */
async function startStack() {
  const certificates = await makeCertificates("IP:127.0.0.1");
  const ca = await readFile(certificates.ca, "utf8");
  const [database, gateway] = await Promise.all([restartableLedger(tlsFlags(certificates)), restartablePushgateway()]);
  const front = await startTlsFront(`http://127.0.0.1:${gateway.port}`, certificates);
  const [toDatabase, toGateway] = await Promise.all([startProxy(database.port), startProxy(front.port)]);
  const admin = sessionOn(database);
  const secret = newSecret();
  const settingsOf = (role: "sampler" | "receiver") => {
    const settings = { ...settingsOn(toDatabase, toGateway, role), WEBHOOK_SECRET: secret, STAGE: "chaos" };
    const [DATABASE_URL, PUSHGATEWAY_URL] = [
      `${settings.DATABASE_URL}?sslmode=verify-full`,
      settings.PUSHGATEWAY_URL.replace("http:", "https:"),
    ];
    return { ...settings, DATABASE_URL, PUSHGATEWAY_URL, CA_CERTIFICATES: ca };
  };
  /** How many outages of Postgres and the gateway there are at this moment: nobody can publish. */
  const outages = { count: 0 };
  /** What receivers printed that ended by themselves. */
  const crashes: string[] = [];
  return { database, gateway, toDatabase, toGateway, admin, secret, settingsOf, outages, crashes };
}

type Receiver = Awaited<ReturnType<typeof startReceiver>>;

/** A receiver that can be killed and started again. It has crashed when it ends without having been killed. */
async function startReceiver({ settingsOf, crashes }: Stack) {
  let program: Program;
  const receiver = {
    url: "",
    signal: (name: NodeJS.Signals) => program.child.kill(name),
    async kill() {
      program.child.kill("SIGKILL");
      await program.exited;
    },
    async start() {
      const started = runScript("test/programs/receiver.ts", [], settingsOf("receiver"));
      started.exited.then(() => started.child.signalCode !== "SIGKILL" && crashes.push(started.output()));
      program = started;
      receiver.url = await started.printed(/receiver (\S+)/);
    },
  };
  await receiver.start();
  return receiver;
}

/**
 * Watches the gateway all the time: for how long was a counter lower than before, while Postgres and the gateway
 * answered? After a wipe it is absent.
 */
function startObserver({ gateway, outages }: Stack) {
  const highest: chaos.Totals = {};
  const falls: number[] = [];
  let fellForMs: number | undefined;
  const stopwatch = startStopwatch();
  let lastAtMs = 0;
  let scrapes = 0;
  let isOver = false;
  const observe = async () => {
    const isOutage = outages.count > 0;
    const series = await scrape("chaos", `http://127.0.0.1:${gateway.port}`);
    scrapes += 1;
    const counters = Object.entries(series).filter(([name]) => /_total|_count$/.test(name));
    const passedMs = isOutage ? 0 : stopwatch() - lastAtMs;
    lastAtMs = stopwatch();
    if (counters.some(([name, value]) => value < (highest[name] ?? 0))) {
      fellForMs = fellForMs === undefined ? 0 : fellForMs + passedMs;
    } else if (fellForMs !== undefined) {
      falls.push(fellForMs + passedMs);
      fellForMs = undefined;
    }
    for (const [name, value] of counters) highest[name] = Math.max(value, highest[name] ?? 0);
    return series;
  };
  const observing = (async () => {
    // The gateway may be down at this moment.
    while (!isOver) await Promise.all([observe().catch(() => {}), sleep(20)]);
  })();
  return {
    async end() {
      isOver = true;
      await observing;
      return { series: await observe(), falls, scrapes };
    },
  };
}

/** The sampler ticks about once a second. A tick may fail, and has to end in time. */
function startTicker({ settingsOf }: Stack, isOver: () => boolean) {
  captureLog();
  setEnvironment(settingsOf("sampler"));
  const ticks = { done: 0, failed: 0, longestMs: 0 };
  const tick = async () => {
    const stopwatch = startStopwatch();
    const ended = await Promise.resolve(sampler({} as ScheduledEvent, {} as Context, () => {})).then(
      () => "done" as const,
      () => "failed" as const,
    );
    ticks[ended] += 1;
    ticks.longestMs = Math.max(ticks.longestMs, stopwatch());
    return ended;
  };
  const ended = (async () => {
    while (!isOver()) await Promise.all([tick(), sleep(1000)]);
  })();
  return { ticks, tick, ended };
}

/** Eight senders. Each has random numbers of its own, so that a seed gives the same deliveries again. */
function startSenders({ secret }: Stack, receivers: Receiver[], isOver: () => boolean) {
  const deliveries: chaos.Delivery[] = [];
  const sendAll = async (index: number) => {
    const random = randomFrom(seed + 1 + index);
    for (let number = 0; !isOver(); number += 1) {
      const { delivery, body } = chaos.randomDelivery(`chaos_${index}_${number}`, random);
      deliveries.push(delivery);
      const sendOnce = async (patience?: number) => {
        const { url = "" } = receivers[Math.floor(random() * receivers.length)] ?? {};
        const ms = await chaos.send(url, secret, delivery, body, patience);
        senders.longestMs = Math.max(senders.longestMs, ms);
      };
      // Some give up at once. The others go on: 200 times is enough until everything is repaired.
      await chaos.sendUntilConfirmed(random() < 0.05 ? 1 : 200, random, delivery, sendOnce);
    }
  };
  const senders = { deliveries, longestMs: 0, ended: Promise.resolve<unknown>(undefined) };
  senders.ended = Promise.all(Array.from({ length: 8 }, (_, index) => sendAll(index)));
  return senders;
}

/**
 * Strikes until the run is over, and until each fault has repaired what it broke. The faults are dealt like cards, so
 * that each kind has its turn. They overlap: none waits for the one before. Resolves to how often each kind has struck.
 */
async function strike(stack: Stack, receivers: Receiver[], isOver: () => boolean) {
  const { database, gateway, toDatabase, toGateway, admin, outages } = stack;
  // What is being restarted is left alone until it is there again.
  const restarting = new Set<unknown>();
  const restart = async (part: Receiver | Restartable, ms: number) => {
    if (restarting.has(part)) return;
    restarting.add(part);
    await part.kill();
    await sleep(ms);
    await part.start();
    restarting.delete(part);
  };
  const during = async (outage: Promise<void>) => {
    outages.count += 1;
    await outage;
    outages.count -= 1;
  };
  /** With `isLockLost`, the holder of the publishers' lock loses it meanwhile. */
  const stop = async (receiver: Receiver, ms: number, isLockLost: boolean) => {
    if (restarting.has(receiver)) return;
    receiver.signal("SIGSTOP");
    const endSessions = async () => {
      await sleep(20);
      await admin`select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'`;
    };
    if (isLockLost) endSessions().catch(() => {}); // Postgres may be down at this moment.
    await sleep(ms);
    receiver.signal("SIGCONT");
  };
  const any = (choice: number) => receivers[Math.floor(choice * receivers.length)] as Receiver;
  const faults: Record<string, { cards: number; strike(ms: number, choice: number): unknown }> = {
    "Postgres cut": { cards: 3, strike: (_, choice) => toDatabase.cut(choice < 0.5) },
    "Postgres answer lost": { cards: 3, strike: (_, choice) => toDatabase.cutAfterNextPiece(choice < 0.5) },
    "Postgres muted": { cards: 1, strike: (ms) => during(toDatabase.mute(ms)) },
    "Postgres killed": { cards: 1, strike: (ms) => during(restart(database, ms)) },
    "gateway cut": { cards: 3, strike: (_, choice) => toGateway.cut(choice < 0.5) },
    "gateway answer lost": { cards: 3, strike: (_, choice) => toGateway.cutAfterNextPiece(choice < 0.5) },
    "gateway muted": { cards: 1, strike: (ms) => during(toGateway.mute(ms)) },
    "gateway wiped": { cards: 1, strike: (ms) => during(restart(gateway, ms)) },
    "receiver killed": { cards: 3, strike: (ms, choice) => restart(any(choice), ms) },
    "receiver stopped": { cards: 3, strike: (ms, choice) => stop(any(choice), ms, ms > 300) },
  };
  const random = randomFrom(seed);
  const struck = Object.fromEntries(Object.keys(faults).map((kind) => [kind, 0]));
  const striking: unknown[] = [];
  let deck: string[] = [];
  while (!isOver()) {
    await sleep(random() * 400);
    if (deck.length === 0) deck = Object.entries(faults).flatMap(([kind, { cards }]) => Array(cards).fill(kind));
    const [kind = ""] = deck.splice(Math.floor(random() * deck.length), 1);
    struck[kind] = (struck[kind] ?? 0) + 1;
    striking.push(faults[kind]?.strike(random() * 1000, random()));
  }
  await Promise.all(striking);
  return struck;
}

/** A delivery whose sender hung up may still be under way. It is over when no session is left. */
async function endReceivers({ admin }: Stack, receivers: Receiver[]): Promise<void> {
  await Promise.all(receivers.map((receiver) => receiver.kill()));
  const sessions = () => admin`select from pg_stat_activity where usename = 'veza_ledger_receiver'`;
  await expect.poll(sessions, { timeout: 30_000 }).toHaveLength(0); // Postgres itself ends them after 60 s.
}
