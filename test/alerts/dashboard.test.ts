// What the committed dashboard shows and links to. dashboard-prometheus.test.ts runs its queries.
import { access } from "node:fs/promises";
import { expect, it } from "vitest";
import { silentAfterSeconds } from "../../config/grafana/dashboard.ts";
import { checks, sweepMinutes } from "../../lib/counts/checks.ts";
import { dashboard } from "../helpers/monitoring.ts";
import { shippedAlerts } from "../helpers/rules.ts";

const panels = dashboard.panels.filter(({ type }) => type !== "row");

it("links panels to the runbook's pages: together to every alert, and to no page that is not there", async () => {
  const alerts = new Set((await shippedAlerts()).map(({ alert }) => alert));
  const index = dashboard.links[0].url;
  expect(index).toMatch(/^https:.*\/docs\/runbook\/README\.md$/);
  const pages = ["README", ...alerts].map((name) => index.replace("README", name));
  const links = panels.flatMap(({ links = [] }) => links.map(({ url }) => url));
  expect([...new Set(links)].sort()).toEqual(pages.sort());
  for (const { title, links } of panels) expect(links?.length, title).toBeGreaterThan(0);
});

it("links the texts of panels to documents that are there", async () => {
  const texts = panels.map(({ description }) => description).join("\n");
  const links = [...texts.matchAll(/\]\((.*?)\)/g)].map(([, url = ""]) => url);
  expect(texts.match(/docs\//g)).toHaveLength(2 * links.length); // In a link's text and in its address.
  for (const url of links) {
    expect(url).toMatch(/^https:\/\/repository\.example\/docs\//); // What an installation replaces.
    await expect(access(url.replace("https://repository.example/", "")), url).resolves.toBeUndefined();
  }
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

it("calls numbers old, and the reconciler late, when the rules do", async () => {
  const expressions = (await shippedAlerts()).map(({ alert, expr }) => `${alert}: ${expr}`);
  const exprOf = (alert: string) => expressions.find((each) => each.startsWith(alert)) ?? "";
  expect(exprOf("VezaLedgerSamplerSilent")).toMatch(new RegExp(`> ${silentAfterSeconds}$`, "m"));
  expect(exprOf("VezaLedgerAlive")).toMatch(new RegExp(`< ${silentAfterSeconds}$`));
  expect(exprOf("VezaLedgerReconcilerDead")).toMatch(new RegExp(`> 2 \\* ${60 * sweepMinutes}$`, "m"));
});
