// From a row in Postgres to a page: the shipped rules and route, in a hurry, on a Prometheus that scrapes a gateway.
import { readFile } from "node:fs/promises";
import type { Context, ScheduledEvent } from "aws-lambda";
import { afterAll, beforeAll, expect, it } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { alertOf } from "../../config/words-of-checks.ts";
import { handler as receiver } from "../../handlers/receiver.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { checks } from "../../lib/counts/checks.ts";
import { countsQuery } from "../../local/graph.ts";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { withTimes } from "../../local/rule-times.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { createDatabase, type TestDatabase } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { healthOfRules, resultOf, startPager } from "../helpers/monitoring.ts";
import { runProgram } from "../helpers/processes.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { hurriedRules } from "../helpers/rules.ts";

const stage = "prod";
const secret = newSecret();
const waiting = { timeout: 120_000, interval: 250 };
let database: TestDatabase;
let gateway: Running;
let alertmanager: Running;
let prometheus: Running;
let server: { url: string; stop(): Promise<void> };
let pager: { host: string; stop(): void };
/** The pages that people have got: what begins or ends, and of which stage. */
const pages: string[] = [];
/** The summaries of the tickets about orphan refunds, as they have come. */
const orphanTickets: string[] = [];

beforeAll(async () => {
  pager = await startPager((to, { status, alerts }) => {
    const { labels, annotations } = alerts[0] ?? {};
    if (to === "/page") pages.push(`${labels?.alertname} ${labels?.stage} ${status}: ${annotations?.summary}`);
    else if (labels?.alertname === "VezaLedgerOrphanRefunds") orphanTickets.push(`${status}: ${annotations?.summary}`);
  });
  const route = (await readFile("config/alertmanager/alertmanager.yml", "utf8")).replaceAll(
    "127.0.0.1:9999",
    pager.host,
  );
  const hurriedRoute = withTimes(route, (seconds) => seconds / 60);
  [gateway, alertmanager] = await Promise.all([startPushgateway(0), startAlertmanager(0, hurriedRoute)]);
  const urls = { pushgatewayUrl: gateway.url, alertmanagerUrl: alertmanager.url };
  const rules = await hurriedRules();
  [database, prometheus, server] = await Promise.all([
    createDatabase(),
    startPrometheus(0, { ...urls, rules, interval: "500ms" }),
    serve(receiver, 0),
  ]);
});
afterAll(async () => {
  await Promise.all([prometheus, alertmanager, gateway, server].map((part) => part?.stop()));
  pager?.stop();
  await database?.remove();
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

  // Orphans are told by the total of an hour ago, here 15 s.
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

  // A second burst after an hour without one, while the ticket of the first is open: another notification.
  await expect.poll(() => orphanTickets.join("\n"), waiting).toContain("in an hour: 1, after 0 before (prod)");
  await expect.poll(ticking(failed_1h), waiting).toMatchObject([{ value: 0 }]);
  await deliver({ type: "reconciler.orphan_refund" });
  await expect
    .poll(
      ticking(async () => orphanTickets.join("\n")),
      waiting,
    )
    .toContain("in an hour: 1, after 1 before (prod)");
  expect(orphanTickets.join("\n")).not.toContain("resolved");

  for (const check of checks) await database.admin.unsafe(insertRows(check, 1));
  await expect.poll(ticking(names), waiting).toEqual(expect.arrayContaining(checks.map(alertOf)));
  await expect.poll(orphans, waiting).toContainEqual(expect.objectContaining({ severity: "page" }));
  await expect
    .poll(
      ticking(async () => pages.join("\n")),
      waiting,
    )
    .toContain("VezaLedgerStuckOrders prod firing");

  // The graph of `npm start`: the rules' own series are there too, with the labels of what they are about.
  expect(await resultOf(prometheus.url, 'ALERTS_FOR_STATE{job="veza_ledger"}')).not.toEqual([]);
  const counted = (await resultOf(prometheus.url, countsQuery)).filter(({ labels }) => labels.stage === stage);
  expect(counted.map(({ labels }) => labels.__name__).sort()).toEqual(checks.map(({ metric }) => metric).sort());

  await database.admin`update orders set status = 'paid'`;
  await expect.poll(ticking(names), waiting).not.toContain("VezaLedgerStuckOrders");
  await expect.poll(async () => pages.join("\n"), waiting).toContain("VezaLedgerStuckOrders prod resolved");
});

it("says in the page of a drill that it is one, and leaves nothing behind", async () => {
  // It waits until its input ends, and not for 2 minutes: this has seen the page's end.
  const script = `import { once } from "node:events";
    import { drill } from "./setup/drill.ts";
    const settle = () => once(process.stdin.resume(), "end");
    process.exit(await drill({ url: process.env.PUSHGATEWAY_URL }, console, settle));`;
  const environment = { PUSHGATEWAY_URL: gateway.url };
  const drill = runProgram(process.execPath, ["--input-type=module", "-e", script], environment, "pipe");
  const ofDrill = async () => [...new Set(pages)].filter((page) => page.includes(" drill ")); // A page is repeated.
  await expect
    .poll(ofDrill, waiting)
    .toEqual([expect.stringMatching(/ firing: A drill, nobody's money: .*\(drill\)$/)]);
  drill.child.stdin?.write("\n");
  await expect.poll(ofDrill, waiting).toEqual([expect.anything(), expect.stringContaining(" drill resolved: ")]);
  drill.child.stdin?.end();
  expect((await drill.exited).exitCode).toBe(0);
  expect(await (await fetch(`${gateway.url}/metrics`)).text()).not.toContain('stage="drill"');
});

it.each([
  'alertmanager_notification_requests_failed_total{instance!="", integration="webhook"}',
  'prometheus_notifications_errors_total{instance!="", alertmanager!=""}',
  'prometheus_rule_evaluation_failures_total{rule_group=~".*;veza-ledger-.*"}',
])(
  "has the counter by which a ticket tells that alerts are not delivered, or that a rule fails: %s",
  async (series) => {
    expect(await resultOf(prometheus.url, series)).not.toEqual([]);
  },
);

it("runs every rule without an error", async () => {
  expect(new Set(await healthOfRules(prometheus.url))).toEqual(new Set(["ok"]));
});
