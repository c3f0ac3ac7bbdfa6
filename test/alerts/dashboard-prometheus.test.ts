// Every query of the dashboard on a real Prometheus, with two stages and a set-up without a stage.
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { alertOf } from "../../config/checks.ts";
import { acceptedMetric } from "../../lib/accepted.ts";
import { amountMetric } from "../../lib/amounts.ts";
import { blindnessMetric } from "../../lib/blindness.ts";
import { checks } from "../../lib/checks.ts";
import { reconcilerMetric } from "../../lib/events.ts";
import { series } from "../../lib/exposition.ts";
import { outboxMetric } from "../../lib/outbox.ts";
import { exposeSample } from "../../lib/sample.ts";
import { parseDatabaseUrl } from "../../lib/settings.ts";
import { exposeTotals } from "../../lib/totals.ts";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { exportedMetrics } from "../helpers/metrics.ts";
import { alertsOf, dashboard, queryOf, rowsOf, setGroup } from "../helpers/monitoring.ts";
import { hurriedRules } from "../helpers/rules.ts";

// Prometheus has all rules loaded, and scrapes a real Pushgateway. Instead of the sampler, the tests push both groups
// of a stage: so a last tick can be ten minutes ago at once.
const stages = ["", "prod", "staging"];
const waiting = { timeout: 120_000, interval: 250 };
type Labels = Record<string, string>;
let gateway: Running;
let prometheus: Running;

beforeAll(async () => {
  const rules = await hurriedRules();
  gateway = await startPushgateway(0);
  for (const stage of stages) await push(stage);
  prometheus = await startPrometheus(0, { pushgatewayUrl: gateway.url, rules, interval: "500ms" });
});
afterAll(() => Promise.all([prometheus?.stop(), gateway?.stop()]));

/** Pushes both groups of a stage, with this many rows for each check. */
async function push(stage: string, { lastTickAgoSeconds = 0, count = 0 } = {}): Promise<void> {
  const tick = Date.now() / 1000 - lastTickAgoSeconds;
  const written = tick - 12 * 3600; // Older than any check's threshold, and no day old.
  const outcomes = checks.map((check) => ({ check, count, overdue: count, oldestSeconds: count && written }));
  const evidence = [
    ...["waiting", "parked"].map((state) => series(outboxMetric.rows, { state }, 0)),
    series(outboxMetric.oldest, {}, 0),
    ...["no_time", "ahead"].map((reason) => series(blindnessMetric.outside, { check: "stuck_orders", reason }, 0)),
    ...[...new Set(checks.map(({ table }) => table))].map((table) => series(blindnessMetric.inserts, { table }, 7)),
    ...checks.flatMap(({ id: check }) => [
      series(blindnessMetric.newest, { check }, tick - 60),
      series(blindnessMetric.checkInserts, { check }, 7),
      series(blindnessMetric.watches, { check }, 1),
      series(amountMetric, { check, currency: "EUR" }, 310.2),
      series(acceptedMetric, { check }, count ? 0 : 1),
    ]),
  ];
  const database = parseDatabaseUrl("postgres://sampler@localhost/ledger");
  const sampler = await exposeSample(
    { outcomes, evidence, unread: [], open: new Map() },
    { sampledAtSeconds: tick, durationSeconds: 0.02, database },
  );
  const reconciler = await exposeTotals([series(reconcilerMetric.lastRun, {}, tick)]);
  for (const name of exportedMetrics) expect(sampler + reconciler, "a metric is not pushed here").toContain(`${name} `);
  await setGroup(gateway.url, "veza_ledger", stage, [sampler]);
  await setGroup(gateway.url, "veza_reconciler", stage, [reconciler]);
}

/** What Grafana gets where "All" is selected as the stage. */
const query = (expr: string) => rowsOf(prometheus.url, expr.replaceAll("$stage", ".*"));

it.each([
  { state: "all are known", values: [0, 0, 0] },
  { state: "one is silent", silent: "prod", values: [0, -1, 0] },
  { state: "the last is gone", gone: "staging", values: [0, 0, -1] },
])("has one row for each stage on every tile, in one order, when $state", async ({ silent, gone, values }) => {
  for (const stage of stages) await push(stage, { lastTickAgoSeconds: stage === silent ? 600 : 0 });
  if (gone) for (const job of ["veza_ledger", "veza_reconciler"]) await setGroup(gateway.url, job, gone);
  const counts = async () =>
    Object.fromEntries((await query(queryOf("Orphan refunds"))).map(({ labels, value }) => [stageOf(labels), value]));
  await expect.poll(counts, waiting).toEqual(Object.fromEntries(stages.map((stage, index) => [stage, values[index]])));

  const isKnown = (stage: string) => stage !== silent && stage !== gone;
  const samples = await query(queryOf("Duration of a sample"));
  expect(samples.map(({ labels }) => stageOf(labels)).sort()).toEqual(stages.filter(isKnown));

  const tiles = dashboard.panels.filter(({ type }) => type === "stat");
  expect(tiles.length).toBeGreaterThan(checks.length);
  // Tried until it holds: a scrape that takes over 500 ms leaves nothing for the moment.
  const look = async () => {
    for (const { title, expr } of tiles.flatMap(({ title, targets = [] }) =>
      targets.map(({ expr }) => ({ title, expr })),
    )) {
      const rows = await query(expr);
      const isAmount = expr.includes("amount_at_risk");
      const isBeside = isAmount || expr.includes("accepted");
      const each = title === "Latest push" ? ["veza_ledger", "veza_reconciler"] : isAmount ? ["EUR"] : [""];
      expect(
        rows.map(({ labels }) => `${labels.job ?? labels.currency ?? ""} ${stageOf(labels)}`),
        title,
      ).toEqual(
        // Amounts and accepted rows that are unknown are absent, and the count next to them says unknown.
        each
          .flatMap((one) => stages.filter((stage) => !isBeside || isKnown(stage)).map((stage) => `${one} ${stage}`))
          .toSorted((a, b) => Number(b.endsWith(" ")) - Number(a.endsWith(" "))), // No stage comes first.
      );
      if (title.startsWith("Would")) continue; // Recorded once in 5 minutes.
      const known = rows.filter(({ labels }) => isKnown(stageOf(labels)));
      for (const { value } of known) expect(value, title).not.toBe(-1);
    }
  };
  await vi.waitFor(look, waiting);
});

it("draws one line for each stage on every chart", async () => {
  for (const stage of stages) await push(stage);
  for (const { title, targets = [] } of dashboard.panels.filter(({ type }) => type === "timeseries")) {
    for (const { expr } of targets) {
      const lines = async () => (await query(expr)).map(({ labels }) => stageOf(labels)).sort();
      await expect.poll(lines, { ...waiting, message: title }).toEqual(stages);
    }
  }
});

it("lists each alert that fires in one row, the longest first, with its severity and since when", async () => {
  await push("staging", { count: 3 });
  await push("prod", { count: 1, lastTickAgoSeconds: 600 });
  const expected = checks
    .flatMap((check) => ["prod", "staging"].map((stage) => `${alertOf(check)} ${stage}`))
    .concat("VezaLedgerSamplerSilent prod");

  // Tried until it holds: an alert may begin to fire between two questions.
  await vi.waitFor(async () => {
    const alerts = await alertsOf<{ labels: Labels; state: string; activeAt: string }>(prometheus.url);
    const firing = alerts.filter(({ state }) => state === "firing");
    const rows = await query(queryOf("Firing alerts"));
    const names = rows.map(({ labels }) => nameOf(labels)).sort();
    expect(names).toEqual([...new Set(firing.map(({ labels }) => nameOf(labels)))].sort());
    expect(names).toEqual(expect.arrayContaining(expected));

    const ages = rows.map(({ value }) => value);
    expect(ages).toEqual(ages.toSorted((a, b) => b - a));
    for (const { labels, value } of rows) {
      const same = firing.filter((alert) => nameOf(alert.labels) === nameOf(labels));
      expect(
        same.map((alert) => alert.labels.severity),
        nameOf(labels),
      ).toContain(labels.severity);
      const began = Math.min(...same.map(({ activeAt }) => Date.parse(activeAt)));
      expect(Math.abs(Date.now() - began - value * 1000), nameOf(labels)).toBeLessThan(5_000);
    }
  }, waiting);
});

it("lists an alert, too, where the rule engine does not say since when", async () => {
  const expr = queryOf("Firing alerts");
  const without = expr.replaceAll("ALERTS_FOR_STATE", "ALERTS_OF_NOBODY");
  expect(without).not.toBe(expr);
  await vi.waitFor(async () => {
    const [rows, all] = [await query(without), await query(expr)];
    expect(all.length).toBeGreaterThan(10);
    expect(rows.map(({ labels }) => nameOf(labels)).sort()).toEqual(all.map(({ labels }) => nameOf(labels)).sort());
    expect(new Set(rows.map(({ value }) => value))).toEqual(new Set([-1]));
  }, waiting);
});

/** Empty for a set-up without a stage. */
const stageOf = (labels: Labels) => labels.stage ?? "";

/** What is told apart in the table. */
function nameOf({ alertname, check, stage }: Labels): string {
  return [alertname, check, stage].filter(Boolean).join(" ");
}
