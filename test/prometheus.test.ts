import { readFile } from "node:fs/promises";
import type { Context, ScheduledEvent } from "aws-lambda";
import { load } from "js-yaml";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { handler as receiver } from "../handlers/receiver.ts";
import { handler as sampler } from "../handlers/sampler.ts";
import { serve } from "../local/function-url.ts";
import { type Running, startPrometheus } from "../local/programs.ts";
import { createDatabase, type TestDatabase } from "./helpers/database.ts";
import { setEnvironment } from "./helpers/environment.ts";
import { wipe } from "./helpers/gateway.ts";
import { captureLog } from "./helpers/log.ts";
import { newSecret, post } from "./helpers/receiver.ts";

// From a row in Postgres to an alert that fires, on a real Prometheus. The rules are the shipped ones, with all times that
// an alert has to hold cut to a second, and with 4 seconds of silence in the place of 3 minutes.
const stage = "prometheus";
const secret = newSecret();
const waiting = { timeout: 20_000, interval: 250 };
let database: TestDatabase;
let prometheus: Running;
let server: { url: string; stop(): Promise<void> };

beforeAll(async () => {
  const shipped = await readFile("config/alertmanager/ledger.yml", "utf8");
  const rules = shipped.replaceAll(/(for|keep_firing_for): \d+m/g, "$1: 1s").replace("> 180", "> 4");
  [database, prometheus, server] = await Promise.all([
    createDatabase(),
    startPrometheus(0, { pushgatewayUrl: inject("pushgatewayUrl"), rules, interval: "500ms" }),
    serve(receiver, 0),
  ]);
  await wipe(stage);
});
afterAll(async () => {
  await Promise.all([prometheus.stop(), server.stop(), database.admin.end()]);
});

/** One tick of the sampler, as its own role. */
async function tick(): Promise<void> {
  setEnvironment({
    DATABASE_URL: database.samplerUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: secret,
    STAGE: stage,
    SECRET_ID: undefined,
  });
  await sampler({} as ScheduledEvent, {} as Context, () => {});
}

async function deliver(...events: object[]): Promise<void> {
  setEnvironment({ DATABASE_URL: database.receiverUrl });
  const timestamp = new Date().toISOString();
  const answer = await post(server.url, secret, JSON.stringify(events.map((event) => ({ timestamp, ...event }))));
  expect(answer.json).toEqual({ status: "recorded", published: true });
}

async function query(expr: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
  const response = await fetch(`${prometheus.url}/api/v1/query?query=${encodeURIComponent(expr)}`);
  const { status, error, data } = (await response.json()) as { status: string; error?: string; data: { result: [] } };
  if (status !== "success") throw new Error(`${expr}: ${error}`);
  return data.result;
}

const firing = async () => {
  const alerts = await query(`ALERTS{alertstate="firing", stage="${stage}"}`);
  return alerts.map(({ metric }) => metric.alertname ?? "");
};

it("takes every alert from its cause to firing, and back", { timeout: 120_000 }, async () => {
  captureLog();
  const keepTicking = async () => {
    await tick();
    return firing();
  };
  await expect.poll(keepTicking, waiting).toEqual(["VezaLedgerReconcilerDead"]); // It has never run.

  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'p', now() - interval '1 hour');
    insert into refunds (status, hyperswitch_refund_id, created_at)
      values ('pending', 'r', now() - interval '1 hour'), ('pending', null, now() - interval '1 hour');
    insert into seller_transfers (status, updated_at)
      values ('permanently_failed', now()), ('reversal_pending', now() - interval '1 hour')`);
  const about = [
    "VezaLedgerStuckOrders",
    "VezaLedgerStuckRefunds",
    "VezaLedgerFailedTransfers",
    "VezaLedgerOrphanRefunds",
    "VezaLedgerPendingReversals",
  ];
  await expect.poll(keepTicking, waiting).toEqual(expect.arrayContaining(about));

  await database.admin`update orders set status = 'paid'`;
  await expect.poll(keepTicking, waiting).not.toContain("VezaLedgerStuckOrders");

  await deliver(
    { type: "reconciler.action", data: { phase: "orphan_refunds" } },
    { type: "reconciler.orphan_refund" },
    { type: "reconciler.sweep", data: { duration_seconds: 1.84 } },
  );
  await expect.poll(keepTicking, waiting).toContain("VezaLedgerReconcilerFailingOrphans");
  await expect.poll(keepTicking, waiting).not.toContain("VezaLedgerReconcilerDead");
  expect(await emptyPanels()).toEqual([]);

  await database.admin`truncate ledger_metrics.totals`;
  await expect.poll(keepTicking, waiting).toContain("VezaLedgerCounterReset");

  await database.admin`alter table orders rename hyperswitch_payment_id to gone`;
  await expect.poll(keepTicking, waiting).toContain("VezaLedgerCheckFailing");
  expect(await query(`ALERTS{alertname="VezaLedgerCheckFailing", stage="${stage}"}`)).toMatchObject([
    { metric: { check: "stuck_orders" } },
  ]);

  // A metric that another group has with another type. Debian's Pushgateway 1.11.0 refuses such a push too, but crashes
  // while it writes that to its log, and hangs up instead of answering 400.
  const put = (job: string, type: string) =>
    fetch(`${inject("pushgatewayUrl")}/metrics/job/${job}/stage/${stage}`, {
      method: "PUT",
      body: `# TYPE veza_contradicted ${type}\nveza_contradicted 1\n`,
    }).then(
      ({ status }) => status,
      () => "hung up",
    );
  expect(await put("other", "gauge")).toBe(200);
  expect([400, "hung up"]).toContain(await put("veza_ledger", "counter"));
  await expect.poll(firing, waiting).toContain("VezaLedgerPushRefused");

  await expect.poll(firing, waiting).toContain("VezaLedgerSamplerSilent"); // Nobody ticks any more.
  await wipe(stage);
  await expect.poll(firing, waiting).toContain("VezaLedgerSamplerAbsent");
});

it("runs every rule's expression without an error", async () => {
  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as {
    groups: { rules: { expr: string }[] }[];
  };
  for (const { expr } of groups.flatMap(({ rules }) => rules)) await query(expr);
  const response = await fetch(`${prometheus.url}/api/v1/rules`);
  const { data } = (await response.json()) as { data: { groups: { rules: { health: string }[] }[] } };
  expect(data.groups.flatMap(({ rules }) => rules.map(({ health }) => health))).toEqual(Array(13).fill("ok"));
});

/** The titles of the dashboard's panels that have no data now. */
async function emptyPanels(): Promise<string[]> {
  const { panels } = JSON.parse(await readFile("config/grafana/ledger.json", "utf8")) as {
    panels: { title: string; targets?: { expr: string }[] }[];
  };
  const empty: string[] = [];
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      const filled = expr.replaceAll("$stage", stage).replaceAll("$__rate_interval", "1m");
      if ((await query(filled)).length === 0) empty.push(title);
    }
  }
  return empty;
}
