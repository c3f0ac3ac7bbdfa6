// The archives that are deployed, run as Lambda runs them: with the template's settings, each in a process with nothing
// else in it, which is frozen between two events.
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, inject, it } from "vitest";
import type { FunctionName } from "../../lib/settings/settings.ts";
import { databaseForFile, targetOf } from "../helpers/database.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { type Invocation, orphanRefund, signedEvent, startLambda } from "../helpers/lambda.ts";
import { forEachCheck } from "../helpers/models.ts";
import { defaultPackage, functionIn, stage } from "../helpers/packages.ts";
import { startProxy } from "../helpers/proxy.ts";
import { newSecret } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";

const secret = newSecret();
const gateway = inject("pushgatewayUrl");
const packaged = await defaultPackage();
const database = await databaseForFile();
await database.admin`
  insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'p', now() - interval '1 hour')`;
beforeEach(async () => {
  await wipe(stage);
  await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
});

/** Starts a function behind a proxy to Postgres, with its settings in Secrets Manager. */
async function start(name: FunctionName, gatewayUrl = gateway, environment: Record<string, string> = {}) {
  const url = name === "sampler" ? database.samplerUrl : database.receiverUrl;
  const { port } = targetOf(url);
  const proxy = await startProxy(port);
  const { reads } = await fakeSecretsManager({
    [`veza-ledger-metrics/${stage}/${name}`]: {
      DATABASE_URL: `${url.replace(`:${port}/`, `:${proxy.port}/`)}?sslmode=require`, // As in production.
      PUSHGATEWAY_URL: gatewayUrl,
      WEBHOOK_SECRET: secret,
    },
  });
  return { ...(await startLambda(packaged, name, environment)), proxy, reads };
}

const delivery = (content?: unknown, options = {}) => signedEvent(secret, content, options);

/** A delivery's answer: the status, and what the body says. */
function answerOf({ result, error }: Invocation): [number, Record<string, unknown>] {
  if (!result) throw new Error(JSON.stringify(error));
  const { statusCode, body } = result as { statusCode: number; body: string };
  return [statusCode, JSON.parse(body)];
}

const counts = { ...forEachCheck(() => 0), stuck_orders: 1 };
const recorded = [200, { status: "recorded", published: true, stage }];
const lines = ({ log }: Invocation): Record<string, unknown>[] => log.map((line) => JSON.parse(line));

it("counts and records, cold, warm, and after 12 s frozen with a reset link, and leaves open what it keeps", async () => {
  const [sampler, receiver] = [await start("sampler"), await start("receiver")];
  const pids: number[] = [];
  for (const state of ["cold", "warm", "frozen"]) {
    if (state === "frozen") {
      for (const { proxy } of [sampler, receiver]) proxy.cut(true);
      await sleep(12_000);
    }
    const [tick, delivered] = [
      await sampler.invoke({}),
      await receiver.invoke(delivery(orphanRefund(), { id: state })),
    ];
    expect(tick).toMatchObject({ result: counts, open: [] });
    expect([answerOf(delivered), delivered.open]).toEqual([recorded, ["TCPSocketWrap"]]);
    const said = { message: "tick", ...counts, duration_seconds: expect.any(Number) };
    const rows = { message: "rows counted", check: "stuck_orders", ids: [expect.any(String)] };
    const line = { message: "delivery", id: state, status: "recorded", events: 1, published: true };
    const info = (...messages: object[]) => messages.map((message) => ({ level: "INFO", message }));
    expect(lines(tick)).toEqual(info(said, rows));
    expect(lines(delivered)).toEqual(info(line));
    pids.push(tick.pid, delivered.pid);
  }
  expect(new Set(pids).size).toBe(2);
  expect(sampler.reads).toEqual([`veza-ledger-metrics/${stage}/sampler`]);
  expect(await scrape(stage)).toMatchObject({
    veza_ledger_stuck_orders_pending: 1,
    veza_reconciler_orphan_refunds_total: 3,
  });
});

it("answers 503 after 5 s when Postgres is mute", async () => {
  const receiver = await start("receiver");
  void receiver.proxy.mute(60_000);
  const delivered = await receiver.invoke(delivery());
  expect(answerOf(delivered)[0]).toBe(503);
  expect(lines(delivered)).toMatchObject([{ message: { reason: "Postgres: no answer within 5000 ms" } }]);
});

it("answers 60 of 60 deliveries after its link to Postgres was reset, also where it is stopped meanwhile", async () => {
  const receiver = await start("receiver");
  expect(answerOf(await receiver.invoke(delivery()))).toEqual(recorded);
  const statuses: unknown[] = [];
  const pids = new Set<number>();
  for (let round = 0; round < 60; round += 1) {
    // Before the delivery, at the same time, or a moment later.
    const answering = round % 3 === 0 ? undefined : receiver.invoke(delivery());
    if (round % 2 === 0) receiver.process()?.kill("SIGSTOP");
    if (round % 3 === 2) await sleep(round / 30);
    receiver.proxy.cut(true);
    if (answering) receiver.process()?.kill("SIGCONT");
    const invocation = await (answering ?? receiver.invoke(delivery()));
    statuses.push(invocation.error ?? answerOf(invocation)[0]);
    pids.add(invocation.pid);
  }
  expect(statuses).toEqual(Array(60).fill(200));
  expect(pids.size).toBe(1);
});

it("answers when no link of a handler keeps the process alive, as when all of them are lost", async () => {
  const preloaded = `import net from "node:net"; const { connect } = net.Socket.prototype;
    net.Socket.prototype.connect = function (...args) {
      const isOfRuntime = process.env.RUNTIME_URL.endsWith(":" + args.flat()[0].port);
      return isOfRuntime ? connect.apply(this, args) : connect.apply(this, args).unref();
    };`;
  const unref = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(preloaded)}` };
  const [sampler, receiver] = [await start("sampler", gateway, unref), await start("receiver", gateway, unref)];
  expect((await sampler.invoke({})).result).toEqual(counts);
  expect(answerOf(await receiver.invoke(delivery()))).toEqual(recorded);
});

it("leaves a quarter of its memory free, at the largest deliveries too", async () => {
  const [sampler, receiver] = [await start("sampler"), await start("receiver")];
  const events = Array.from({ length: 1000 }, () => ({ ...orphanRefund(), padding: "x".repeat(150) }));
  const limitMib = functionIn(packaged, "receiver").MemorySize * 0.75; // The sampler has as much.
  for (let round = 0; round < 12; round += 1) {
    const [tick, delivered] = [await sampler.invoke({}), await receiver.invoke(delivery(events))];
    expect(tick.result).toEqual(counts);
    expect(answerOf(delivered)).toEqual(recorded);
    expect(tick.maxMemoryMib).toBeLessThan(limitMib);
    expect(delivered.maxMemoryMib).toBeLessThan(limitMib);
  }
});

it("has room for a stranger's requests of 6 MB, forged as well as can be", async () => {
  const NODE_OPTIONS = "--max-old-space-size=64 --max-semi-space-size=4"; // Collects garbage early.
  const receiver = await start("receiver", gateway, { NODE_OPTIONS });
  const forged = { ...delivery([]), body: "é".repeat(2_900_000) };
  for (let round = 0; round < 10; round += 1) {
    const refused = await receiver.invoke(forged);
    expect(answerOf(refused)[0]).toBe(401);
    // About 128 here, and over 158 when each body is copied as often as the package does.
    expect(refused.maxMemoryMib).toBeLessThan(145);
  }
});
