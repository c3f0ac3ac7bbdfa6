// What a person receives: what the shipped route makes of alerts, on a real Alertmanager where a minute takes a second.
// incidents.test.ts has which alerts begin and end, and prometheus.test.ts the way from a row to a page.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import type { Running } from "../../local/programs.ts";
import { withTimes } from "../../local/rule-times.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { setGroup, startPager } from "../helpers/monitoring.ts";
import { fileDone, writeOnCall } from "../helpers/on-call-file.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

let alertmanager: Running;
let pager: { host: string; stop(): void };
/** What has been received, in order. Pings are counted by stage, as they repeat. */
let received: string[] = [];
const pings: Record<string, number> = {};

beforeAll(async () => {
  pager = await startPager((to, { status, alerts }) => {
    const [{ labels: { alertname = "", stage = "" } = {} } = {}] = alerts;
    const stages = [...new Set(alerts.map(({ labels }) => labels.stage ?? ""))].sort().join("+");
    if (to === "/alive" && status === "firing") pings[stage] = (pings[stage] ?? 0) + 1;
    else received.push(`${to} ${alertname.replace("VezaLedger", "")} ${stages}, ${alerts.length} ${status}`);
  });
  const route = (await readFile("config/alertmanager/alertmanager.yml", "utf8")).replaceAll(
    "127.0.0.1:9999",
    pager.host,
  );
  alertmanager = await startAlertmanager(
    0,
    withTimes(route, (seconds) => seconds / 60),
  );
});
afterAll(async () => {
  await alertmanager?.stop();
  pager?.stop();
});

interface Alert {
  alert: string;
  severity: "page" | "ticket" | "none";
  stage?: string;
  check?: string;
  earlier?: string;
}

/** Tells Alertmanager that these fire, as Prometheus does, or that they have ended. */
async function post(alerts: Alert[], hasEnded = false): Promise<void> {
  const body = alerts.map(({ alert, ...labels }) => ({
    labels: { alertname: `VezaLedger${alert}`, job: "veza_ledger", ...labels },
    ...(hasEnded && { endsAt: new Date().toISOString() }),
  }));
  const headers = { "content-type": "application/json" };
  const url = `${alertmanager.url}/api/v2/alerts`;
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  expect(answer.status).toBe(200);
}

const stages = ["prod", "drill", "staging", "prod2"];
const alerts: Alert[] = [
  // Of each stage, and of a set-up without one.
  ...[{}, ...stages.map((stage) => ({ stage }))].map((of) => ({
    alert: "StuckOrders",
    severity: "page" as const,
    ...of,
  })),
  { alert: "StuckRefunds", severity: "ticket", stage: "prod" },
  // One cause, several checks or stages.
  ...["stuck_orders", "orphan_refunds"].map(
    (check): Alert => ({ alert: "CheckFailing", severity: "page", stage: "prod", check }),
  ),
  ...["prod", "drill", "staging"].map((stage): Alert => ({ alert: "SamplerSilent", severity: "page", stage })),
  ...["prod", "staging"].map((stage): Alert => ({ alert: "Alive", severity: "none", stage })),
];
const due = [
  "/page StuckOrders , 1",
  "/page StuckOrders prod, 1",
  "/page StuckOrders drill, 1",
  "/ticket StuckOrders staging, 1",
  "/ticket StuckOrders prod2, 1",
  "/ticket StuckRefunds prod, 1",
  "/page CheckFailing prod, 2",
  "/page SamplerSilent drill+prod, 2",
  "/ticket SamplerSilent staging, 1",
].sort();

it("is one notification for one incident, and one of its end; it wakes somebody for a stage of the route alone", async () => {
  await post(alerts);
  await expect.poll(() => received.toSorted()).toEqual(due.map((one) => `${one} firing`));
  await expect.poll(() => pings.prod ?? 0).toBeGreaterThan(2);
  received = [];
  await post(alerts, true);
  const ended = due.map((one) => `${one} resolved`);
  await expect.poll(() => received.toSorted()).toEqual(ended);
  const before = pings.prod;
  await passes();
  // Once each. An end of the pings would be one more to a service outside, and pings of staging would hide prod's end.
  expect([received.toSorted(), pings]).toEqual([ended, { prod: before }]);
});

it("is a ticket of its own for a second burst of orphans, and its end is, too", async () => {
  const bursts = ["7", "8"].map((earlier): Alert => {
    return { alert: "OrphanRefunds", severity: "ticket", stage: "prod", earlier };
  });
  received = [];
  for (const hasEnded of [false, true]) {
    for (const burst of bursts) {
      await post([burst], hasEnded);
      const said = `/ticket OrphanRefunds prod, 1 ${hasEnded ? "resolved" : "firing"}`;
      await expect.poll(() => received).toEqual([said]);
      received = [];
    }
  }
});

it("leaves nothing behind of a stage that is retired, and says no end of its alerts", async () => {
  const gateway = inject("pushgatewayUrl");
  for (const job of ["veza_ledger", "veza_reconciler"]) await setGroup(gateway, job, "retired", ["any 1"]);
  const silent: Alert[] = [{ alert: "SamplerSilent", severity: "page", stage: "retired" }];
  received = [];
  await post(silent);
  await expect.poll(() => received).toEqual(["/ticket SamplerSilent retired, 1 firing"]);
  const file = path.join(await newFolder(), "oncall.mjs");
  await writeOnCall(file, { ALERTMANAGER_URL: alertmanager.url, PUSHGATEWAY_URL: gateway });
  await fileDone(file, "retire retired", { answers: ["yes"] });
  expect(await (await fetch(`${gateway}/metrics`)).text()).not.toContain('stage="retired"');
  received = [];
  await post(silent, true);
  await passes();
  expect(received).toEqual([]);
});

/** Waits until another alert has begun and ended, which takes longer than whatever was due before. */
async function passes(): Promise<void> {
  for (const hasEnded of [false, true]) {
    await post([{ alert: "AlertsFail", severity: "ticket" }], hasEnded);
    const said = `/ticket AlertsFail , 1 ${hasEnded ? "resolved" : "firing"}`;
    await expect.poll(() => received).toContain(said);
    received = received.filter((one) => one !== said);
  }
}
