import { readFile } from "node:fs/promises";
import type { Context, ScheduledEvent } from "aws-lambda";
import { load } from "js-yaml";
import { afterAll, beforeAll, expect, it } from "vitest";
import { alertOf } from "../../config/checks.ts";
import { handler as receiver } from "../../handlers/receiver.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { checks } from "../../lib/checks.ts";
import { serve } from "../../local/function-url.ts";
import { countsQuery } from "../../local/graph.ts";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { createDatabase, type TestDatabase } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows, onTable, readsProviderId } from "../helpers/models.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { hurried } from "../helpers/rules.ts";
import { assertRights } from "../helpers/sample.ts";

// From a row in Postgres to an alert that fires, on a real Prometheus that scrapes a Pushgateway of its own. The rules
// are the shipped rules, in a hurry.
const stage = "prometheus";
const secret = newSecret();
const waiting = { timeout: 20_000, interval: 250 };
let database: TestDatabase;
let gateway: Running;
let prometheus: Running;
let server: { url: string; stop(): Promise<void> };

beforeAll(async () => {
  const rules = hurried(await readFile("config/alertmanager/ledger.yml", "utf8"));
  gateway = await startPushgateway(0);
  [database, prometheus, server] = await Promise.all([
    createDatabase(),
    startPrometheus(0, { pushgatewayUrl: gateway.url, rules, interval: "500ms" }),
    serve(receiver, 0),
  ]);
  await assertRights(database);
});
afterAll(async () => {
  await Promise.all([prometheus?.stop(), gateway?.stop(), server?.stop(), database?.remove()]);
});

const settings = () => ({
  PUSHGATEWAY_URL: gateway.url,
  WEBHOOK_SECRET: secret,
  STAGE: stage,
  SECRET_ID: undefined,
});

/** One tick of a stage's sampler, as its own role. */
async function tick(ofStage = stage): Promise<void> {
  setEnvironment({ ...settings(), DATABASE_URL: database.samplerUrl, STAGE: ofStage });
  await sampler({} as ScheduledEvent, {} as Context, () => {});
}

async function deliver(...events: object[]): Promise<void> {
  setEnvironment({ ...settings(), DATABASE_URL: database.receiverUrl });
  const timestamp = new Date().toISOString();
  const answer = await post(server.url, secret, JSON.stringify(events.map((event) => ({ timestamp, ...event }))));
  expect(answer.json).toEqual({ status: "recorded", published: true, stage });
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

it("misses the sampler until its first tick", async () => {
  captureLog();
  const isAbsent = async () => (await query('ALERTS{alertname="VezaLedgerSamplerAbsent", alertstate="firing"}')).length;
  await expect.poll(isAbsent, waiting).toBe(1);
  await tick("first");
  await expect.poll(isAbsent, waiting).toBe(0);
});

it("takes every alert from its cause to firing, and back", { timeout: 120_000 }, async () => {
  captureLog();
  const keepTicking = async () => {
    await tick();
    return firing();
  };
  await expect.poll(keepTicking, waiting).toEqual(["VezaLedgerReconcilerDead"]); // It has never run.

  await deliver(
    { type: "reconciler.action", data: { phase: "orphan_refunds" } },
    { type: "reconciler.orphan_refund" },
    { type: "reconciler.sweep", data: { duration_seconds: 1.84 } },
  );
  /** What fires under this name, by one of its labels. */
  const kinds = (alertname: string, label: string) => async () => {
    await tick();
    const alerts = await query(`ALERTS{alertname="${alertname}", alertstate="firing"}`);
    return alerts.map(({ metric }) => metric[label]);
  };
  await expect.poll(kinds("VezaLedgerOrphanRefunds", "severity"), waiting).toEqual(["ticket"]);
  await expect.poll(keepTicking, waiting).not.toContain("VezaLedgerReconcilerDead");

  for (const check of checks) await database.admin.unsafe(insertRows(check, 1));
  await expect.poll(keepTicking, waiting).toEqual(expect.arrayContaining(checks.map(alertOf)));
  await expect.poll(kinds("VezaLedgerOrphanRefunds", "severity"), waiting).toEqual(["page"]); // It took over.

  // The graph of `npm start`: the rules' own series are there too, with the labels of what they are about.
  expect(await query('ALERTS_FOR_STATE{job="veza_ledger"}')).not.toEqual([]);
  const counted = (await query(countsQuery)).filter(({ metric }) => metric.stage === stage);
  expect(counted.map(({ metric }) => metric.__name__).sort()).toEqual(checks.map(({ metric }) => metric).sort());

  await database.admin`update orders set status = 'paid'`;
  await expect.poll(keepTicking, waiting).not.toContain("VezaLedgerStuckOrders");

  await database.admin`truncate ledger_metrics.totals`;
  await expect.poll(keepTicking, waiting).toContain("VezaLedgerEventsLost");
  expect(await firing()).not.toContain("VezaLedgerAnotherWriter");
  await fetch(`${gateway.url}/metrics/job/veza_reconciler/stage/${stage}`, { method: "DELETE" });
  await expect.poll(kinds("VezaLedgerAnotherWriter", "reason"), waiting).toContain("a counter fell");

  await database.admin`alter table orders rename hyperswitch_payment_id to gone`;
  await expect.poll(keepTicking, waiting).toContain("VezaLedgerCheckFailing");
  const failing = await query(`ALERTS{alertname="VezaLedgerCheckFailing", alertstate="firing"}`);
  expect(failing.find(({ metric }) => metric.check === "stuck_orders")?.metric.severity).toBe("page");
  const failed = failing.map(({ metric }) => metric.check).sort();
  expect(failed).toEqual(Object.keys(onTable("orders", -1, readsProviderId)).sort());

  // A metric that another group has with another type. Debian's Pushgateway 1.11.0 refuses such a push too, but crashes
  // while it writes that to its log, and hangs up instead of answering 400.
  const put = (job: string, type: string) =>
    fetch(`${gateway.url}/metrics/job/${job}/stage/${stage}`, {
      method: "PUT",
      body: `# TYPE veza_contradicted ${type}\nveza_contradicted 1\n`,
    }).then(
      ({ status }) => status,
      () => "hung up",
    );
  expect(await put("other", "gauge")).toBe(200);
  expect([400, "hung up"]).toContain(await put("veza_ledger", "counter"));
  const refused = `ALERTS{alertname="VezaLedgerAnotherWriter", alertstate="firing", reason="a push was refused"}`;
  await expect.poll(() => query(refused), waiting).toHaveLength(1);

  await expect.poll(firing, waiting).toContain("VezaLedgerSamplerSilent"); // Nobody ticks any more.
  const before = await firing();
  expect(before).toEqual(expect.arrayContaining(["VezaLedgerStuckRefunds", "VezaLedgerCheckFailing"]));
  await gateway.stop();
  await expect.poll(async () => (await query("up == 0")).length, waiting).toBe(1);
  expect(await query("veza_ledger_stuck_refunds_pending")).toEqual([]);
  expect(await firing()).toEqual(expect.arrayContaining(before)); // Silence ends nothing.
});

it("runs every rule's expression without an error", async () => {
  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as {
    groups: { rules: { expr: string }[] }[];
  };
  const rules = groups.flatMap(({ rules }) => rules);
  for (const { expr } of rules) await query(expr);
  const response = await fetch(`${prometheus.url}/api/v1/rules`);
  const { data } = (await response.json()) as { data: { groups: { rules: { health: string }[] }[] } };
  expect(data.groups.flatMap(({ rules }) => rules.map(({ health }) => health))).toEqual(rules.map(() => "ok"));
});
