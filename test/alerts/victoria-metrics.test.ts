// The service with nothing but a URL changed: it pushes to VictoriaMetrics, and vmalert evaluates the shipped rules.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Context, ScheduledEvent } from "aws-lambda";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { handler as sampler } from "../../handlers/sampler.ts";
import { freePort } from "../../local/ports.ts";
import { type Running, startServer } from "../../local/programs.ts";
import { createDatabase, type TestDatabase } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { findProgram, type ProgramName } from "../helpers/find-program.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { alertsOf, dashboard, healthOfRules, queryOf, resultOf } from "../helpers/monitoring.ts";
import { skippedBecause } from "../helpers/needs.ts";
import { hurriedRules } from "../helpers/rules.ts";
import { newFolder } from "../helpers/temporary-folder.ts";
import { whyOldVmalert } from "../helpers/vmalert.ts";

// There is no Pushgateway and no scrape here: what nobody pushes any more is just old.
const waiting = { timeout: 120_000, interval: 500 };
const unlessOld = skippedBecause(await whyOldVmalert());
let database: TestDatabase;
let victoria: Running;
let vmalert: Running;

beforeAll(async () => {
  const folder = await newFolder();
  database = await createDatabase();
  victoria = await start("victoria-metrics", [
    `-storageDataPath=${folder}/data`,
    // It would keep the last half minute to itself.
    "-search.latencyOffset=0s",
  ]);
  const rules = path.join(folder, "ledger.yml");
  await writeFile(rules, await hurriedRules());
  vmalert = await start("vmalert", [
    `-rule=${rules}`,
    `-datasource.url=${victoria.url}`,
    `-remoteWrite.url=${victoria.url}`,
    `-remoteRead.url=${victoria.url}`,
    "-notifier.blackhole",
    "-rule.evalDelay=0s", // It would look at what was half a minute ago.
    "-evaluationInterval=1s",
  ]);
});
afterAll(async () => {
  await vmalert?.stop();
  await victoria?.stop();
  await database?.remove();
});

/** Starts one of VictoriaMetrics' programs on a free port, and waits until it answers. */
async function start(name: ProgramName, args: string[]): Promise<Running> {
  const { file } = await findProgram(name);
  const port = await freePort(0);
  const all = [`-httpListenAddr=127.0.0.1:${port}`, ...args];
  return startServer(file, all, `http://127.0.0.1:${port}`, "/health", {});
}

/** One tick of a stage's sampler. */
async function tick(stage: string): Promise<void> {
  setEnvironment({
    DATABASE_URL: database.samplerUrl,
    PUSHGATEWAY_URL: `${victoria.url}/api/v1/import/prometheus`,
    STAGE: stage,
    SECRET_ID: undefined,
  });
  await sampler({} as ScheduledEvent, {} as Context, () => {});
}

/** What fires now, as `alert stage`. */
async function names(): Promise<string[]> {
  const alerts = await alertsOf<{ name: string; state: string; labels: Record<string, string> }>(vmalert.url);
  return alerts.filter(({ state }) => state === "firing").map(({ name, labels }) => `${name} ${labels.stage}`);
}

/** Ticks in these stages, and tells what fires then. */
const ticking =
  (...stages: string[]) =>
  async () => {
    for (const stage of stages) await tick(stage);
    return names();
  };

it("reports the one of two stages whose sampler dies, and ends no alert by it", {
  timeout: 900_000,
  ...unlessOld,
}, async () => {
  captureLog();
  const ofBoth = (name: string) => expect.arrayContaining([`${name} dies`, `${name} lives`]);
  await database.admin.unsafe(insertRows({ id: "stuck_orders" }, 1, { age: "2 hours" }));
  const areBothWell = async () => {
    const fires = await ticking("dies", "lives")();
    return fires.some((name) => name.startsWith("VezaLedgerSamplerSilent")) ? [] : fires;
  };
  await expect.poll(areBothWell, waiting).toEqual(ofBoth("VezaLedgerStuckOrders"));
  await expect.poll(ticking("lives"), waiting).toContain("VezaLedgerSamplerSilent dies");
  const after = await ticking("lives")();
  expect(after).toEqual(ofBoth("VezaLedgerReconcilerDead")); // It never ran.
  expect(after).toContain("VezaLedgerStuckOrders dies");
  expect(after).not.toContain("VezaLedgerSamplerSilent lives");

  await database.admin`update orders set status = 'paid'`;
  await expect.poll(ticking("lives"), waiting).not.toContain("VezaLedgerStuckOrders lives");
  expect(await ticking("lives")()).toContain("VezaLedgerStuckOrders dies");
});

it("evaluates every rule without an error", unlessOld, async () => {
  await expect.poll(async () => new Set(await healthOfRules(vmalert.url))).toEqual(new Set(["ok"]));
});

it("answers every query of the dashboard, and lists on it every alert that fires", unlessOld, async () => {
  captureLog();
  await tick("lives");
  const query = (expr: string) =>
    resultOf(victoria.url, expr.replaceAll("$stage", ".*").replaceAll("$__interval", "5m"));
  for (const { expr } of dashboard.panels.flatMap(({ targets = [] }) => targets)) await query(expr);
  await vi.waitFor(async () => {
    const fires = [...new Set(await names())];
    expect(fires.length).toBeGreaterThan(2);
    const listed = await query(queryOf("Firing alerts"));
    expect(listed.map(({ labels }) => `${labels.alertname} ${labels.stage}`)).toEqual(expect.arrayContaining(fires));
  }, waiting);
});
