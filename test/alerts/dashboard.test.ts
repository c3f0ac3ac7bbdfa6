import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { beforeAll, expect, it } from "vitest";
import { ranked } from "../../config/checks.ts";
import { checks } from "../../lib/checks.ts";
import { exportedMetrics } from "../helpers/metrics.ts";

/** As much of Grafana's format as is looked at here. */
interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  datasource?: { uid: string };
  fieldConfig?: {
    defaults: { unit?: string; decimals?: number; noValue?: string; mappings?: unknown[]; links?: { url: string }[] };
    overrides: { matcher: { options: string }; properties: { id: string; value: { fixedColor?: string } }[] }[];
  };
  transformations?: { id: string; options: Record<string, Record<string, unknown>> }[];
  targets?: { refId: string; expr: string; interval?: string; legendFormat?: string; datasource?: { uid: string } }[];
  links?: { url: string }[];
}

// What the committed dashboard asks, explains and links to. dashboard-prometheus.test.ts runs its queries.

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
  const uids = [...text.matchAll(/"uid": "(.*)"/g)].map(([, uid]) => uid);
  // Itself, and Grafana's own annotations, where deploys are.
  expect(new Set(uids)).toEqual(new Set([chosen, "veza-ledger", "-- Grafana --"]));
});

it("gives every panel, and every query in a panel, an id of its own", () => {
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  for (const { title, targets = [] } of panels)
    expect(new Set(targets.map(({ refId }) => refId)).size, title).toBe(targets.length);
});

it("links panels to the runbook's pages: together to every alert, and to no page that is not there", async () => {
  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as {
    groups: { rules: { alert: string }[] }[];
  };
  const alerts = new Set(groups.flatMap(({ rules }) => rules.flatMap(({ alert = [] }) => alert)));
  const index = JSON.parse(text).links[0].url;
  expect(index).toMatch(/^https:.*\/docs\/runbook\/README\.md$/);
  const pages = ["README", ...alerts].map((name) => index.replace("README", name));
  const links = panels.flatMap(({ links = [] }) => links.map(({ url }) => url));
  expect([...new Set(links)].sort()).toEqual(pages.sort());
  for (const { title, links } of panels) expect(links?.length, title).toBeGreaterThan(0);
});

it("shows what fires first, beside whether it can be believed, and then the checks, pages first", () => {
  const titles = all.map(({ title }) => title.toLowerCase().replaceAll(" ", "_"));
  const trust = ["firing_alerts", "since_the_last_tick", "unknown_checks", "latest_push", "duration_of_a_sample"];
  const expected = [...trust, "is_money_stuck?", ...ranked.map(({ id }) => id)];
  expect(titles.slice(1, 1 + expected.length)).toEqual(expected);
});

it("shows purple and not grey on every tile whose series are gone", () => {
  const tiles = panels.filter(({ type }) => type === "stat");
  expect(tiles.length).toBeGreaterThan(checks.length);
  for (const { title, fieldConfig, targets = [] } of tiles) {
    const mappings = JSON.stringify(fieldConfig?.defaults.mappings);
    expect(mappings, title).toContain('"-1":{"text":"unknown","color":"purple"');
    for (const { expr } of targets) {
      if (/amount_at_risk|accepted/.test(expr)) continue; // Below the count, which says unknown for both.
      expect(expr, title).toMatch(/^max by \((job, )?stage\) \(label_replace\(max_over_time\(.*\[1d\]\) /);
      expect(expr, title).toMatch(/ \* 0 - 1, .* or -1 \* absent_over_time\(.*\[1d\]\)\)$/);
    }
  }
});

it("says unknown where a chart has no series", () => {
  const charts = panels.filter(({ type }) => /^(timeseries|heatmap)$/.test(type));
  expect(charts.length).toBeGreaterThan(5);
  for (const { title, fieldConfig } of charts) expect(fieldConfig?.defaults.noValue, title).toMatch(/^unknown/);
});

it("counts unknown checks over time as the tile does, and shows no old sample as one of now", () => {
  const [tile, chart, sample] = ["Unknown checks", "The counts over time", "Duration of a sample"].map(
    (name) => panels.find(({ title }) => title === name)?.targets?.at(-1)?.expr ?? "",
  );
  expect(chart).toMatch(/^count by/);
  expect(tile).toContain(` or ${chart} or `);
  expect(sample).toMatch(/ and on \(stage\) \(time\(\) - .* <= 180\)$/);
});

it("links the name of each alert that fires to its page of the runbook", () => {
  const table = panels.find(({ type }) => type === "table");
  const { renameByName = {}, excludeByName = {} } = table?.transformations?.[0]?.options ?? {};
  expect(excludeByName).toEqual({ Time: true });
  const column = table?.fieldConfig?.overrides.find(({ matcher }) => matcher.options === renameByName.alertname);
  const links = column?.properties.find(({ id }) => id === "links")?.value;
  const url = JSON.parse(text).links[0].url.replace("README", "$" + "{__value.raw}");
  expect(links).toEqual([{ title: "Runbook", url, targetBlank: true }]);
});

it("gives amounts no colour that says how bad they are: the thresholds of a tile are those of its count", () => {
  const tiles = panels.filter(({ targets }) => targets?.some(({ expr }) => expr.includes("amount_at_risk{check=")));
  expect(tiles.length).toBe(checks.length);
  for (const { title, targets = [], fieldConfig } of tiles) {
    expect(
      targets.findIndex(({ expr }) => expr.includes("amount_at_risk")),
      title,
    ).toBe(1);
    const amounts = fieldConfig?.overrides.find(({ matcher }) => matcher.options === "B");
    expect(amounts?.properties, title).toContainEqual({
      id: "color",
      value: { mode: "fixed", fixedColor: "transparent" },
    });
  }
});

it("keeps the time when a click selects a stage", () => {
  const links = panels.flatMap(({ fieldConfig }) => fieldConfig?.defaults.links ?? []).map(({ url }) => url);
  expect(links.length).toBeGreaterThan(checks.length);
  for (const link of links) expect(link).toContain("$" + "{__url_time_range}");
});

it("gives each check a colour of its own everywhere", () => {
  const colors: Record<string, Set<string>> = {};
  for (const { fieldConfig, targets = [] } of panels) {
    for (const { matcher, properties } of fieldConfig?.overrides ?? []) {
      const legend = targets.find(({ refId }) => refId === matcher.options)?.legendFormat ?? "";
      const color = properties.find(({ id }) => id === "color")?.value.fixedColor;
      const check = checks.find(({ id }) => legend.toLowerCase().replaceAll(" ", "_").startsWith(id));
      if (!check || !color) continue;
      expect(color).toMatch(/^#/);
      colors[check.id] = (colors[check.id] ?? new Set()).add(color);
    }
  }
  expect(Object.keys(colors).sort()).toEqual(checks.map(({ id }) => id).sort());
  const all = Object.values(colors).map((ofOne) => [...ofOne]);
  expect(all.every((ofOne) => ofOne.length === 1)).toBe(true);
  expect(new Set(all.flat()).size).toBe(checks.length);
});

it("lets no query have an interval of its own, which the rate's would be four times", () => {
  for (const { title, targets = [] } of panels) {
    for (const { interval, expr } of targets) {
      expect(interval, title).toBeUndefined();
      expect(expr, title).not.toContain("$__rate_interval");
    }
  }
});

it("marks deploys, and where a page begins: one that lasts for days would tint everything", () => {
  const { list } = JSON.parse(text).annotations as { list: { name: string; expr?: string; target?: object }[] };
  expect(list).toMatchObject([
    { name: "Pages", expr: expect.stringMatching(/severity="page".* unless .*severity="page"\} offset 1m\)$/) },
    { name: "Deploys", target: { tags: ["deploy"] } },
  ]);
});

it("selects the stage in every series that it reads", () => {
  for (const query of queries) {
    const selectors = query.match(/\{[^}]*\}/g) ?? [];
    expect(selectors.length, query).toBeGreaterThan(0);
    for (const selector of selectors) expect(selector, query).toMatch(/stage=~"\$stage\|?"/);
  }
});

it("reads all metrics that the code exports, and no other", () => {
  const variables: { query: string }[] = JSON.parse(text).templating.list;
  const used = [...queries, ...variables.map(({ query }) => query)]
    // The jobs' names look like metrics.
    .map((query) => query.replaceAll(/job=~?"[^"]*"/g, ""))
    .flatMap((query) => query.match(/\bveza_\w+(?![:\w])/g) ?? []) // With a colon, a rule has recorded it.
    .map((name) => (exportedMetrics.includes(name) ? name : name.replace(/_(bucket|sum|count)$/, "")));
  expect([...new Set(used)].sort()).toEqual([...exportedMetrics].sort());
});
