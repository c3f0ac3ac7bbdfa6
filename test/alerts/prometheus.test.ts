// From a row in Postgres to an alert that fires: the shipped rules, in a hurry, on a Prometheus that scrapes a gateway.
import type { Context, ScheduledEvent } from "aws-lambda";
import { afterAll, beforeAll, expect, it } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { alertOf } from "../../config/words-of-checks.ts";
import { handler as receiver } from "../../handlers/receiver.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { checks } from "../../lib/counts/checks.ts";
import { countsQuery } from "../../local/graph.ts";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { createDatabase, type TestDatabase } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows, onTable, readsProviderId } from "../helpers/models.ts";
import { healthOfRules, resultOf } from "../helpers/monitoring.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { hurriedRules } from "../helpers/rules.ts";

const stage = "prometheus";
const secret = newSecret();
const waiting = { timeout: 120_000, interval: 250 };
let database: TestDatabase;
let gateway: Running;
let prometheus: Running;
let server: { url: string; stop(): Promise<void> };

beforeAll(async () => {
  const rules = await hurriedRules();
  gateway = await startPushgateway(0);
  [database, prometheus, server] = await Promise.all([
    createDatabase(),
    startPrometheus(0, { pushgatewayUrl: gateway.url, rules, interval: "500ms" }),
    serve(receiver, 0),
  ]);
});
afterAll(async () => {
  await Promise.all([prometheus?.stop(), gateway?.stop(), server?.stop(), database?.remove()]);
});

const settings = () => ({ PUSHGATEWAY_URL: gateway.url, WEBHOOK_SECRET: secret, STAGE: stage, SECRET_ID: undefined });

/** One tick of the sampler, as its own role. */
async function tick(): Promise<void> {
  setEnvironment({ ...settings(), DATABASE_URL: database.samplerUrl });
  await sampler({} as ScheduledEvent, {} as Context, () => {});
}

async function deliver(...events: object[]): Promise<void> {
  setEnvironment({ ...settings(), DATABASE_URL: database.receiverUrl });
  const timestamp = new Date().toISOString();
  const answer = await post(server.url, secret, JSON.stringify(events.map((event) => ({ timestamp, ...event }))));
  expect(answer.json).toEqual({ status: "recorded", published: true, stage });
}

/** What fires of the stage and is told to people: the labels of this alert, or of each. */
async function firing(alertname = ".+"): Promise<Record<string, string>[]> {
  const alerts = `ALERTS{alertname=~"${alertname}", alertstate="firing", severity!="none", stage="${stage}"}`;
  return (await resultOf(prometheus.url, alerts)).map(({ labels }) => labels);
}

const names = async () => (await firing()).map(({ alertname }) => alertname);

/** Ticks, and asks then. */
const ticking =
  <Answer>(ask: () => Promise<Answer>) =>
  async () => {
    await tick();
    return ask();
  };

it("keeps the labels that were pushed, as config/prometheus/prometheus.yml says", async () => {
  captureLog();
  const scraped = () => resultOf(prometheus.url, "veza_ledger_sample_timestamp_seconds");
  await expect.poll(ticking(scraped), waiting).toHaveLength(1);
  const [series] = await scraped();
  expect(series?.labels, "honor_labels is true").toMatchObject({ job: "veza_ledger", stage });
});

it("takes every alert from its cause to firing, and back", { timeout: 900_000 }, async () => {
  captureLog();
  await expect.poll(ticking(names), waiting).toEqual(["VezaLedgerReconcilerDead"]); // It has never run.

  // Orphans are told by the total of an hour ago, here 45 s: without one, only for as long as the first ticks took.
  const failed_1h = () => resultOf(prometheus.url, "veza_reconciler:orphans_failed:rows_1h");
  await expect.poll(ticking(failed_1h), waiting).toMatchObject([{ value: 0 }]);

  await deliver(
    { type: "reconciler.action", data: { phase: "orphan_refunds" } },
    { type: "reconciler.orphan_refund" },
    { type: "reconciler.sweep", data: { duration_seconds: 1.84 } },
  );
  const orphans = ticking(() => firing("VezaLedgerOrphanRefunds"));
  await expect.poll(orphans, waiting).toMatchObject([{ severity: "ticket" }]);
  await expect.poll(ticking(names), waiting).not.toContain("VezaLedgerReconcilerDead");

  for (const check of checks) await database.admin.unsafe(insertRows(check, 1));
  await expect.poll(ticking(names), waiting).toEqual(expect.arrayContaining(checks.map(alertOf)));
  await expect.poll(orphans, waiting).toMatchObject([{ severity: "page" }]); // It took over.

  // The graph of `npm start`: the rules' own series are there too, with the labels of what they are about.
  expect(await resultOf(prometheus.url, 'ALERTS_FOR_STATE{job="veza_ledger"}')).not.toEqual([]);
  const counted = (await resultOf(prometheus.url, countsQuery)).filter(({ labels }) => labels.stage === stage);
  expect(counted.map(({ labels }) => labels.__name__).sort()).toEqual(checks.map(({ metric }) => metric).sort());

  await database.admin`update orders set status = 'paid'`;
  await expect.poll(ticking(names), waiting).not.toContain("VezaLedgerStuckOrders");

  await database.admin`truncate ledger_metrics.totals`;
  await expect.poll(ticking(names), waiting).toContain("VezaLedgerEventsLost");

  await database.admin`alter table orders rename hyperswitch_payment_id to gone`;
  await expect.poll(ticking(names), waiting).toContain("VezaLedgerCheckFailing");
  const failing = await firing("VezaLedgerCheckFailing");
  expect(failing).toContainEqual(expect.objectContaining({ check: "stuck_orders", severity: "page" }));
  const failed = failing.map(({ check }) => check).sort();
  expect(failed).toEqual(Object.keys(onTable("orders", -1, readsProviderId)).sort());

  await expect.poll(names, waiting).toContain("VezaLedgerSamplerSilent"); // Nobody ticks any more.
  const before = await names();
  expect(before).toEqual(expect.arrayContaining(["VezaLedgerStuckRefunds", "VezaLedgerCheckFailing"]));
  await gateway.stop();
  await expect.poll(() => resultOf(prometheus.url, "up == 0"), waiting).toHaveLength(1);
  expect(await resultOf(prometheus.url, "veza_ledger_stuck_refunds_pending")).toEqual([]);
  expect(await names()).toEqual(expect.arrayContaining(before)); // Silence ends nothing.
});

it("runs every rule without an error", async () => {
  expect(new Set(await healthOfRules(prometheus.url))).toEqual(new Set(["ok"]));
});
