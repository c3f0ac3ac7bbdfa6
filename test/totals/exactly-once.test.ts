// Bursts to several processes at once: each delivery is counted once, and shown without a tick.

import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, it, onTestFinished } from "vitest";
import { createDatabase } from "../helpers/database.ts";
import { scrape } from "../helpers/gateway.ts";
import { runScript } from "../helpers/processes.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { httpServer } from "../helpers/servers.ts";

/**
 * Starts receivers whose pushes take different ways to the gateway, some longer than others: without the lock they
 * would overtake each other.
 */
async function startReceivers(count: number, stage: string): Promise<{ urls: string[]; secret: string }> {
  const secret = newSecret();
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  const gateway = await httpServer(async (request, response) => {
    const body = await text(request);
    await sleep(Math.random() * 20);
    const { method = "", url = "" } = request;
    const answer = await fetch(inject("pushgatewayUrl") + url, method === "GET" ? {} : { method, body });
    response.writeHead(answer.status).end(await answer.text());
  });
  const receivers = Array.from({ length: count }, () =>
    runScript("test/programs/receiver.ts", [], {
      DATABASE_URL: database.receiverUrl,
      PUSHGATEWAY_URL: gateway,
      WEBHOOK_SECRET: secret,
      STAGE: stage,
      SECRET_ID: undefined,
    }),
  );
  return { urls: await Promise.all(receivers.map(({ printed }) => printed(/receiver (\S+)/))), secret };
}

const timestamp = new Date().toISOString();
const orphansOn = async (stage: string) => (await scrape(stage)).veza_reconciler_orphan_refunds_total ?? 0;

it.each([1, 4])("shows every delivery of a burst within 2 s without a tick, with %i processes", async (count) => {
  const stage = `burst_${count}`;
  const { urls, secret } = await startReceivers(count, stage);
  const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp });
  const published: Record<string, number> = {};
  for (let burst = 1; burst <= 20; burst += 1) {
    const posting = Array.from({ length: 16 }, (_, index) => post(urls[index % count] ?? "", secret, body));
    for (const { json } of await Promise.all(posting)) {
      published[`${json.published}`] = (published[`${json.published}`] ?? 0) + 1;
    }
    await expect.poll(() => orphansOn(stage), { timeout: 2_000, interval: 10 }).toBe(16 * burst);
  }
  // Otherwise no receiver would have left anything to another receiver.
  expect(published.false).toBeGreaterThan(16);
});

it("counts 400 deliveries, each sent three times, 16 at a time to 4 processes, exactly once", async () => {
  const stage = "exactly_once";
  const { urls, secret } = await startReceivers(4, stage);
  const deliveries = Array.from({ length: 400 }, (_, index) => ({
    id: `msg_${index}`,
    body: JSON.stringify([
      { type: "reconciler.action", timestamp, data: { phase: index % 2 ? "stuck_orders" : "orphan_refunds" } },
      { type: "reconciler.orphan_refund", timestamp },
      { type: "reconciler.sweep", timestamp, data: { duration_seconds: (index % 7) / 10 } },
    ]),
  }));
  const sends = deliveries.flatMap((delivery) => [delivery, delivery, delivery]).sort(() => Math.random() - 0.5);

  // Watches the gateway all the time: a counter that ever falls would be counted again by increase().
  const watching = new AbortController();
  const seen: number[] = [];
  const watcher = (async () => {
    while (!watching.signal.aborted) {
      seen.push(await orphansOn(stage));
      await sleep(2);
    }
  })();

  const statuses: Record<string, number> = {};
  const published = new Set<string>();
  const broken: string[] = [];
  const sendAll = async () => {
    for (let send = sends.pop(); send; send = sends.pop()) {
      const url = urls[Math.floor(Math.random() * urls.length)] ?? "";
      const { status, json } = await post(url, secret, send.body, { id: send.id });
      const outcome = `${status} ${json.status}`;
      statuses[outcome] = (statuses[outcome] ?? 0) + 1;
      // What was answered to be published is on the gateway, no matter which receiver has pushed.
      if (json.published) published.add(send.id);
      const promised = published.size;
      const shown = await orphansOn(stage);
      if (shown < promised) broken.push(`${send.id}: ${promised} were published, and ${shown} are there`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, sendAll));
  await expect.poll(() => orphansOn(stage), { timeout: 2_000 }).toBe(400);
  watching.abort();
  await watcher;

  expect(broken).toEqual([]);
  expect(published.size).toBeGreaterThan(20);
  expect(statuses).toEqual({ "200 recorded": 400, "200 duplicate": 800 });
  const sum = deliveries.reduce((total, _, index) => total + (index % 7), 0) / 10;
  expect(await scrape(stage)).toMatchObject({
    'veza_reconciler_actions_total{phase="stuck_orders"}': 200,
    'veza_reconciler_actions_total{phase="orphan_refunds"}': 200,
    veza_reconciler_orphan_refunds_total: 400,
    veza_reconciler_sweep_duration_seconds_count: 400,
    veza_reconciler_sweep_duration_seconds_sum: sum,
  });
  expect(seen.length).toBeGreaterThan(20);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
});
