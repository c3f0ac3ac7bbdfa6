import { readFile } from "node:fs/promises";
import { beforeAll, expect, it } from "vitest";
import { ledgerDashboard } from "../config/grafana/dashboard.ts";
import { exportedMetrics } from "./helpers/metrics.ts";

/** As much of Grafana's format as is looked at here. */
interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: { uid: string };
  fieldConfig?: { defaults: { unit?: string; decimals?: number } };
  targets?: { refId: string; expr: string; datasource?: { uid: string } }[];
  links?: { url: string }[];
}

const alerts = [
  "VezaLedgerStuckOrders",
  "VezaLedgerStuckRefunds",
  "VezaLedgerFailedTransfers",
  "VezaLedgerOrphanRefunds",
  "VezaLedgerPendingReversals",
  "VezaLedgerCheckFailing",
  "VezaLedgerCheckFlapping",
  "VezaLedgerSamplerSilent",
  "VezaLedgerSamplerAbsent",
  "VezaLedgerReconcilerDead",
  "VezaLedgerReconcilerFailingOrphans",
  "VezaLedgerPushRefused",
  "VezaLedgerCounterReset",
];

let text: string;
/** Rows too. */
let all: Panel[];
let panels: Panel[];
let queries: string[];
beforeAll(async () => {
  text = await readFile("config/grafana/ledger.json", "utf8");
  const json = JSON.parse(text);
  all = json.panels;
  panels = all.filter(({ type }) => type !== "row");
  queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  expect(panels.length).toBeGreaterThan(12);
  expect(queries.length).toBeGreaterThanOrEqual(panels.length);
});

it("is in step with dashboard.ts", () => {
  expect(text, "ledger.json is out of date: npm run dashboard").toBe(`${JSON.stringify(ledgerDashboard(), null, 2)}\n`);
});

it("explains every panel and names its unit", () => {
  for (const { title, description, fieldConfig } of panels) {
    expect(description?.length, title).toBeGreaterThan(80);
    expect(fieldConfig?.defaults.unit, title).toMatch(/./);
    expect(fieldConfig?.defaults.decimals, title).toBeGreaterThanOrEqual(0);
  }
});

it("asks the chosen data source only", () => {
  const chosen = "$" + "{datasource}";
  for (const { title, datasource, targets = [] } of panels) {
    expect(datasource?.uid, title).toBe(chosen);
    expect(targets.length, title).toBeGreaterThan(0);
    for (const target of targets) expect(target.datasource?.uid, title).toBe(chosen);
  }
  const [itself, ...others] = [...text.matchAll(/"uid": "(.*)"/g)]
    .map(([, uid]) => uid)
    .sort()
    .reverse();
  expect(itself).toBe("veza-ledger");
  expect(new Set(others)).toEqual(new Set([chosen]));
});

it("gives every panel, and every query in a panel, an id of its own", () => {
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  for (const { title, targets = [] } of panels)
    expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length);
});

it("lays panels side by side in 24 columns", () => {
  for (const [index, { title, gridPos: a }] of all.entries()) {
    expect(a.x, title).toBeGreaterThanOrEqual(0);
    expect(a.x + a.w, title).toBeLessThanOrEqual(24);
    for (const { title: other, gridPos: b } of all.slice(index + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      expect(apart, `${title} and ${other} overlap`).toBe(true);
    }
  }
});

it("links panels to the runbook, and between them to every alert there", () => {
  const runbook = JSON.parse(text).links[0].url;
  const links = panels.flatMap(({ links = [] }) => links.map(({ url }) => url));
  expect([...new Set(links)].sort()).toEqual(alerts.map((alert) => `${runbook}#${alert.toLowerCase()}`).sort());
  for (const { title, links } of panels) expect(links?.length, title).toBeGreaterThan(0);
});

it("selects the stage in every series that it reads", () => {
  for (const query of queries) {
    const selectors = query.match(/\{[^}]*\}/g) ?? [];
    expect(selectors.length, query).toBeGreaterThan(0);
    for (const selector of selectors) expect(selector, query).toContain('stage=~"$stage"');
  }
});

it("reads all metrics that the code exports, and no other", () => {
  const variables: { query: string }[] = JSON.parse(text).templating.list;
  const used = [...queries, ...variables.map(({ query }) => query)]
    // The jobs' names look like metrics.
    .map((query) => query.replaceAll(/job=~?"[^"]*"/g, ""))
    .flatMap((query) => query.match(/\bveza_\w+/g) ?? [])
    .map((name) => (exportedMetrics.includes(name) ? name : name.replace(/_(bucket|sum|count)$/, "")));
  expect([...new Set(used)].sort()).toEqual([...exportedMetrics].sort());
});
