import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { beforeAll, expect, it } from "vitest";
import { checks } from "../../lib/checks.ts";
import { exportedMetrics } from "../helpers/metrics.ts";

/** As much of Grafana's format as is looked at here. */
interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: { uid: string };
  fieldConfig?: {
    defaults: { unit?: string; decimals?: number; noValue?: string; mappings?: unknown[]; links?: { url: string }[] };
    overrides: { matcher: { options: string }; properties: { id: string; value: { fixedColor?: string } }[] }[];
  };
  options?: {
    yAxis?: { unit: string };
    color?: { min?: number; scheme: string };
    sortBy?: object[];
    cellHeight?: string;
    wideLayout?: boolean;
    text?: { titleSize?: number; valueSize?: number };
  };
  transformations?: { id: string; options: Record<string, Record<string, unknown>> }[];
  interval?: string;
  targets?: { refId: string; expr: string; interval?: string; legendFormat?: string; datasource?: { uid: string } }[];
  links?: { url: string }[];
}

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

it("shows what fires first, beside whether it can be believed, then what pages, then the other checks", () => {
  const [row, table, ...others] = all;
  expect([row?.type, table?.type]).toEqual(["row", "table"]);
  const money = others.findIndex(({ title }) => title === "Is money stuck?");
  expect(others.slice(0, money).map(({ title }) => title)).toEqual([
    "Since the last tick",
    "Unknown checks",
    "Latest push",
    "Duration of a sample",
  ]);
  for (const { title, gridPos } of others.slice(0, money)) {
    expect(gridPos.x, title).toBeGreaterThanOrEqual(table?.gridPos.w ?? 24);
  }
  const tiles = others.slice(money + 1, money + 1 + checks.length).map(({ title }) => title);
  expect(tiles.slice(0, 2)).toEqual(["Stuck orders", "Orphan refunds"]);
  const shown = tiles.map((title) => title.toLowerCase().replace(" ", "_")).sort();
  expect(shown, "the tiles of config/grafana/dashboard.ts").toEqual(checks.map(({ id }) => id).sort());
});

it("cuts no title at a width of 1280 pixels", () => {
  // Measured on pictures: a column is 52 pixels, margin and two icons take 110, and a letter takes up to 7.4.
  for (const { title, gridPos } of panels) {
    expect(title.length, title).toBeLessThanOrEqual((gridPos.w * 52 - 110) / 7.4);
  }
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

it("lists pages first, with room for nine rows, and puts nothing where an alert has no check or no stage", () => {
  const table = panels.find(({ type }) => type === "table");
  expect(table?.title).toBe("Firing alerts");
  expect(table?.options).toMatchObject({ sortBy: [{ displayName: "severity", desc: false }], cellHeight: "sm" });
  // Grafana's own sizes in pixels: a unit of height is 30, and a gap 8; a frame takes 50, the header 34, a row 36.
  const height = (table?.gridPos.h ?? 0) * 38 - 8;
  expect((height - 50 - 34) / 36).toBeGreaterThanOrEqual(9);
  for (const name of ["check", "stage"]) {
    const column = table?.fieldConfig?.overrides.find(({ matcher }) => matcher.options === name);
    expect(column?.properties, name).toContainEqual({ id: "noValue", value: "" });
  }
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

it("lets the numbers on tiles take the room that there is, below the name of their stage", () => {
  const tiles = panels.filter(({ type, options }) => type === "stat" && !options?.wideLayout);
  expect(tiles.map(({ title }) => title)).toEqual([
    "Since the last tick",
    "Unknown checks",
    ...all
      .slice(all.findIndex(({ title }) => title === "Is money stuck?") + 1)
      .slice(0, checks.length)
      .map(({ title }) => title),
    "Since the last sweep",
  ]);
  for (const { title, options } of tiles) expect(options?.text, title).toEqual({ titleSize: 13 });
});

it("draws the lines of production solid, as of no stage, and those of others dashed", () => {
  for (const { title, fieldConfig } of panels.filter(({ type }) => type === "timeseries")) {
    const dashed = fieldConfig?.overrides.find(({ properties }) => properties[0]?.id === "custom.lineStyle");
    const pattern = new RegExp(dashed?.matcher.options.slice(1, -1) ?? "");
    const isDashed = (legend: string) => pattern.test(legend);
    expect(["sample prod", "sample production", "sample "].filter(isDashed), title).toEqual([]);
    expect(["sample staging", "sample dev"].filter(isDashed), title).toHaveLength(2);
  }
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

it("gives each check one colour everywhere, and none that says how bad something is", () => {
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
  for (const color of all.flat()) expect(hueOf(color), color).toSatisfy(isNoWarning);
});

/** Degrees on the wheel of colours, or undefined for a grey. */
function hueOf(color: string): number | undefined {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16) / 255);
  const [max, min] = [Math.max(r, g, b), Math.min(r, g, b)];
  if (max - min < 0.1) return undefined;
  const sixth = max === r ? (g - b) / (max - min) : max === g ? 2 + (b - r) / (max - min) : 4 + (r - g) / (max - min);
  return (sixth * 60 + 360) % 360;
}

/** Neither red nor orange, nor green, nor purple as "unknown" is. */
const isNoWarning = (hue: number | undefined) =>
  hue === undefined || (hue > 40 && hue < 65) || (hue > 170 && hue < 260) || (hue > 310 && hue < 340);

it("counts sweeps in the heatmap, each once, and shows seconds on its axis", () => {
  const [heatmap, ...others] = panels.filter(({ type }) => type === "heatmap");
  expect(others).toEqual([]);
  expect(heatmap?.fieldConfig?.defaults.unit).toBe("none");
  expect(heatmap?.options?.yAxis?.unit).toBe("s");
  // A single sweep has to stand out from none, also where every cell is 1.
  expect(heatmap?.options?.color).toMatchObject({ scheme: "Oranges", min: 0 });
  // A reconciler sweeps every five minutes, so that a shorter cell would hold one sweep or two.
  expect(heatmap?.interval).toBe("30m");
  expect(heatmap?.targets?.map(({ expr }) => expr)).toEqual([expect.stringContaining("offset $__interval")]);
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
