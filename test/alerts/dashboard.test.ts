// What the committed dashboard shows and links to. dashboard-prometheus.test.ts runs its queries.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { ranked } from "../../config/checks.ts";
import { checks } from "../../lib/checks.ts";
import { shippedAlerts } from "../helpers/rules.ts";

/** As much of Grafana's format as is looked at here. */
interface Panel {
  type: string;
  title: string;
  fieldConfig?: { defaults: { mappings?: unknown[] } };
  targets?: { expr: string }[];
  links?: { url: string }[];
}

const text = await readFile("config/grafana/ledger.json", "utf8");
const dashboard = JSON.parse(text) as { panels: Panel[]; links: [{ url: string }] };
const panels = dashboard.panels.filter(({ type }) => type !== "row");

it("asks the chosen data source only", () => {
  const uids = [...text.matchAll(/"uid": "(.*)"/g)].map(([, uid]) => uid);
  // Itself, and Grafana's own annotations, where deploys are.
  expect(new Set(uids)).toEqual(new Set(["$" + "{datasource}", "veza-ledger", "-- Grafana --"]));
});

it("links panels to the runbook's pages: together to every alert, and to no page that is not there", async () => {
  const alerts = new Set((await shippedAlerts()).map(({ alert }) => alert));
  const index = dashboard.links[0].url;
  expect(index).toMatch(/^https:.*\/docs\/runbook\/README\.md$/);
  const pages = ["README", ...alerts].map((name) => index.replace("README", name));
  const links = panels.flatMap(({ links = [] }) => links.map(({ url }) => url));
  expect([...new Set(links)].sort()).toEqual(pages.sort());
  for (const { title, links } of panels) expect(links?.length, title).toBeGreaterThan(0);
});

it("shows what fires first, beside whether it can be believed, and then the checks, pages first", () => {
  const titles = dashboard.panels.map(({ title }) => title.toLowerCase().replaceAll(" ", "_"));
  const trust = ["firing_alerts", "since_the_last_tick", "unknown_checks", "latest_push", "duration_of_a_sample"];
  const expected = [...trust, "is_money_stuck?", ...ranked.map(({ id }) => id)];
  expect(titles.slice(1, 1 + expected.length)).toEqual(expected);
});

it("shows purple and not grey on every tile whose series are gone", () => {
  const tiles = panels.filter(({ type }) => type === "stat");
  expect(tiles.length).toBeGreaterThan(checks.length);
  for (const { title, fieldConfig } of tiles) {
    const mappings = JSON.stringify(fieldConfig?.defaults.mappings);
    expect(mappings, title).toContain('"-1":{"text":"unknown","color":"purple"');
  }
});

it("selects the stage in every series that it reads", () => {
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  for (const query of queries) {
    const selectors = query.match(/\{[^}]*\}/g) ?? [];
    expect(selectors.length, query).toBeGreaterThan(0);
    for (const selector of selectors) expect(selector, query).toMatch(/stage=~"\$stage\|?"/);
  }
});
