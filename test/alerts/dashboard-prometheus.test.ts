// Every query of the dashboard on a real Prometheus, with two stages and a set-up without a stage.
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { calmCount, failedOrphans } from "../../config/grafana/queries.ts";
import { alertOf } from "../../config/words-of-checks.ts";
import { acceptedMetric, acceptedUntilMetric } from "../../lib/counts/accepted.ts";
import { amountMetric } from "../../lib/counts/amounts.ts";
import { blindnessMetric } from "../../lib/counts/blindness.ts";
import { checks } from "../../lib/counts/checks.ts";
import { openEverywhere } from "../../lib/counts/counting.ts";
import { outboxMetric } from "../../lib/counts/outbox.ts";
import { exposeSample, otherSamplerMetric } from "../../lib/counts/sample.ts";
import { series } from "../../lib/gateway/exposition.ts";
import { parseDatabaseUrl } from "../../lib/settings/settings.ts";
import { reconcilerMetric } from "../../lib/totals/events.ts";
import { exposeTotals } from "../../lib/totals/totals.ts";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { exportedMetrics } from "../helpers/metrics.ts";
import { alertsOf, dashboard, queryOf, resultOf, setGroup } from "../helpers/monitoring.ts";
import { hurriedRules } from "../helpers/rules.ts";

// Prometheus has all rules loaded, and scrapes a real Pushgateway. Instead of the sampler, the tests push both groups
// of a stage: so a last tick can be ten minutes ago at once.
const stages = ["", "prod", "staging"];
const waiting = { timeout: 120_000, interval: 250 };
type Labels = Record<string, string>;
/** Whether a tile's query has a value only where rows count that are not overdue, or where orphans were failed. */
const isOfFew = (expr: string) => [failedOrphans, ...checks.map(calmCount)].includes(expr);
let gateway: Running;
let prometheus: Running;

beforeAll(async () => {
  const rules = await hurriedRules();
  gateway = await startPushgateway(0);
  for (const stage of stages) await push(stage);
  prometheus = await startPrometheus(0, { pushgatewayUrl: gateway.url, rules, interval: "500ms" });
});
afterAll(() => Promise.all([prometheus?.stop(), gateway?.stop()]));

/**
 * Pushes both groups of a stage, with this many rows for each check, of which so many are overdue, and with so many
 * orphans that were ever marked as failed.
 */
async function push(
  stage: string,
  of: { lastTickAgoSeconds?: number; count?: number; overdue?: number; failed?: number } = {},
): Promise<void> {
  const { lastTickAgoSeconds = 0, count = 0, overdue = count, failed = 0 } = of;
  const tick = Date.now() / 1000 - lastTickAgoSeconds;
  const outcomes = checks.map((check) => ({ check, count, overdue, oldestSeconds: count && tick - 12 * 3600 }));
  const evidence = [
    ...["waiting", "late", "parked"].map((state) => series(outboxMetric.rows, { state }, 0)),
    series(outboxMetric.oldest, {}, 0),
    series(blindnessMetric.outside, { check: "stuck_orders", reason: "ahead" }, 0),
    series(blindnessMetric.inserts, { table: "orders" }, 7),
    ...checks.flatMap(({ id: check }) => [
      series(blindnessMetric.newest, { check }, tick - 60),
      series(blindnessMetric.checkInserts, { check }, 7),
      series(blindnessMetric.watches, { check }, 1),
      series(blindnessMetric.nearlyStuck, { check }, 1),
      series(amountMetric, { check, currency: "EUR" }, 310.2),
      series(acceptedMetric, { check }, 1),
      series(acceptedUntilMetric, { check }, tick + 86_400),
    ]),
  ];
  const database = parseDatabaseUrl("postgres://sampler@localhost/ledger");
  const otherSampler = series(otherSamplerMetric, { region: "", database: "other" }, tick - 60);
  const sampler = await exposeSample(
    { outcomes, evidence, unread: [], open: openEverywhere("all") },
    { sampledAtSeconds: tick, durationSeconds: 0.02, database, other: otherSampler },
  );
  const reconciler = await exposeTotals([
    series(reconcilerMetric.lastRun, {}, tick),
    series(reconcilerMetric.orphanRefunds, {}, failed),
  ]);
  for (const name of exportedMetrics) expect(sampler + reconciler, "a metric is not pushed here").toContain(`${name} `);
  await setGroup(gateway.url, "veza_ledger", stage, [sampler]);
  await setGroup(gateway.url, "veza_reconciler", stage, [reconciler]);
}

/** What Grafana gets where "All" is selected as the stage. */
const query = (expr: string) => resultOf(prometheus.url, expr.replaceAll("$stage", ".*"));
/** The queries of all panels of this type. */
const queriesOf = (type: string) =>
  dashboard.panels.flatMap(({ type: is, title, targets = [] }) =>
    is === type ? targets.map(({ expr }) => ({ title, expr })) : [],
  );
/** Empty for a set-up without a stage. */
const stageOf = (labels: Labels) => labels.stage ?? "";
const stagesOf = (rows: { labels: Labels }[]) => rows.map(({ labels }) => stageOf(labels));

it.each([
  { state: "all" },
  { state: "not a silent one, and not the last, which is gone", silent: "prod", gone: "staging" },
])("says for each stage what is known, on every tile, in one order: $state", async ({ silent, gone }) => {
  for (const stage of stages) await push(stage, { lastTickAgoSeconds: stage === silent ? 600 : 0 });
  if (gone) for (const job of ["veza_ledger", "veza_reconciler"]) await setGroup(gateway.url, job, gone);
  const known = stages.filter((stage) => stage !== silent && stage !== gone);

  // Tried until it holds: a scrape that takes over 500 ms leaves nothing for the moment.
  const look = async () => {
    for (const { title, expr } of queriesOf("stat")) {
      const rows = await query(expr);
      if (isOfFew(expr)) {
        expect(rows, title).toEqual([]);
        continue;
      }
      const names = new Set(rows.map(({ labels: { job, check } }) => job ?? check));
      for (const name of names) {
        const ofName = rows.filter(({ labels: { job, check } }) => (job ?? check) === name);
        const order = names.size > 1 ? stagesOf(ofName).sort() : stagesOf(ofName);
        // What stands next to a count that is unknown is absent.
        expect(order, title).toEqual(/amount_at_risk|accepted/.test(expr) ? known : stages);
      }
      for (const { labels, value } of rows) if (known.includes(stageOf(labels))) expect(value, title).not.toBe(-1);
    }
    const counts = await query(queryOf("Orphan refunds"));
    expect(counts.map(({ value }) => value)).toEqual(stages.map((stage) => (known.includes(stage) ? 0 : -1)));
  };
  await vi.waitFor(look, waiting);
});

it("says unknown of a stage that it never saw, and nothing beside that", async () => {
  for (const { title, expr } of queriesOf("stat")) {
    const isBeside = isOfFew(expr) || /amount_at_risk|accepted|phase_last_run/.test(expr);
    const unknown = isBeside ? [] : [{ labels: {}, value: -1 }];
    expect(await resultOf(prometheus.url, expr.replaceAll("$stage", "nobody")), title).toEqual(unknown);
  }
});

it("shows each count once for each stage, and in blue where no row is overdue", async () => {
  await push("");
  await push("prod", { count: 3, overdue: 0 });
  await push("staging", { count: 2 });
  const shown = async (expr = "") => (await query(expr)).map(({ labels, value }) => `${stageOf(labels)} ${value}`);
  for (const check of checks) {
    const { targets = [], fieldConfig } =
      dashboard.panels.find((panel) => panel.targets?.some(({ expr }) => expr === calmCount(check))) ?? {};
    const [inItsColor, inBlue] = targets;
    await expect.poll(() => shown(inItsColor?.expr), waiting).toEqual([" 0", "staging 2"]);
    await expect.poll(() => shown(inBlue?.expr), waiting).toEqual(["prod 3"]);
    expect(fieldConfig?.overrides).toContainEqual({
      matcher: { id: "byFrameRefID", options: "B" },
      properties: [{ id: "color", value: { mode: "fixed", fixedColor: "blue" } }],
    });
  }
});

it("shows orphans that were marked as failed in red, and no 0 next to them", async () => {
  for (const stage of stages) await push(stage);
  const [count, failed] = [queryOf("Orphan refunds"), failedOrphans];
  const shown = async (expr: string) => (await query(expr)).map(({ labels, value }) => `${stageOf(labels)} ${value}`);
  await expect.poll(() => shown("veza_reconciler:orphans_failed:rows_1h"), waiting).toHaveLength(stages.length);
  await push("prod", { failed: 3 });
  await push("staging", { failed: 1, count: 2 });
  await expect.poll(() => shown(failed), waiting).toEqual(["prod 3", "staging 1"]);
  await expect.poll(() => shown(count), waiting).toEqual([" 0", "staging 2"]);
  const { targets, fieldConfig } = dashboard.panels.find(({ title }) => title === "Orphan refunds") ?? {};
  expect(targets?.at(-1)?.expr).toBe(failed);
  expect(fieldConfig?.defaults.thresholds?.steps).toContainEqual({ value: 1, color: "red" });
  expect(JSON.stringify(fieldConfig?.overrides)).not.toContain('"options":"E"');
});

it("draws lines for each stage on every chart", async () => {
  for (const stage of stages) {
    await push(stage);
    // What the rules record after an hour, and after two days.
    const records = { "nearly_stuck:rows_1h": 6, "nearly_stuck:inserts_1h": 55, "usual:share": 0.1 };
    const recorded = Object.entries(records).map(
      ([name, value]) => `veza_ledger:${name}{check="stuck_orders"} ${value}`,
    );
    await setGroup(gateway.url, "records", stage, recorded);
  }
  for (const { title, expr } of queriesOf("timeseries")) {
    const drawn = async () => [...new Set(stagesOf(await query(expr)))].sort();
    await expect.poll(drawn, { ...waiting, message: title }).toEqual(stages);
  }
});

it("lists each alert for people that fires in one row, the longest first, and since when it fires", async () => {
  const nameOf = ({ alertname, check, reason, stage, severity }: Labels) =>
    [alertname, check, reason, stage, severity].filter(Boolean).join(" ");
  const expr = queryOf("Firing alerts");
  await push("staging", { count: 3, lastTickAgoSeconds: -60 }); // So that VezaLedgerAlive fires, for nobody.
  await expect.poll(() => query(expr), waiting).not.toEqual([]);
  await push("prod", { count: 1, lastTickAgoSeconds: 600 });

  // Tried until it holds: an alert may begin to fire between two questions.
  await vi.waitFor(async () => {
    const alerts = await alertsOf<{ labels: Labels; state: string; activeAt: string }>(prometheus.url);
    const firing = alerts.filter(({ state, labels }) => state === "firing" && labels.severity !== "none");
    const rows = await query(expr);
    const names = firing.map(({ labels }) => nameOf(labels)).sort();
    expect(rows.map(({ labels }) => nameOf(labels)).sort()).toEqual([...new Set(names)]);
    const due = checks.flatMap((check) => ["prod", "staging"].map((stage) => `${alertOf(check)} .*${stage}`));
    for (const one of due) expect(names.join("\n")).toMatch(new RegExp(one));
    const ages = rows.map(({ value }) => value);
    expect(ages).toEqual(ages.toSorted((a, b) => b - a));
    const longest = Math.min(...firing.map(({ activeAt }) => Date.parse(activeAt)));
    expect(Math.abs(Date.now() - longest - (ages[0] ?? 0) * 1000)).toBeLessThan(5_000);

    // An older vmalert does not say since when.
    const without = await query(expr.replaceAll("ALERTS_FOR_STATE", "ALERTS_OF_NOBODY"));
    expect(without.map(({ labels }) => nameOf(labels)).sort()).toEqual([...new Set(names)]);
    expect(new Set(without.map(({ value }) => value))).toEqual(new Set([-1]));
  }, waiting);
});
