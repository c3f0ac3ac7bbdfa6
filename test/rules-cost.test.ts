import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { load } from "js-yaml";
import { expect, it, onTestFinished, vi } from "vitest";
import { checkSuccessMetric, checks, oldestItemMetric } from "../lib/checks.ts";
import { phases, reconcilerMetric } from "../lib/events.ts";
import { sampleTimestampMetric } from "../lib/sample.ts";
import { findProgram } from "../local/find-program.ts";
import { freePort } from "../local/ports.ts";
import { supervise } from "../local/supervise.ts";

const scrapeSeconds = 15;
const daySeconds = 86_400;
/** Per stage and evaluation. docs/performance.md has what was measured. */
const maxSamples = 80_000;

it("the rules read no more samples than they may, for one stage with a full day of scrapes", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-cost-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const now = Math.floor(Date.now() / 1000);
  const [promtool, prometheus] = await Promise.all([findProgram("promtool"), findProgram("prometheus")]);
  await writeFile(path.join(folder, "day.txt"), dayOfScrapes(now));
  const toBlocks = [
    "tsdb",
    "create-blocks-from",
    "openmetrics",
    path.join(folder, "day.txt"),
    path.join(folder, "data"),
  ];
  await promisify(execFile)(promtool.file, toBlocks, { maxBuffer: 64 * 1024 * 1024 });
  await writeFile(path.join(folder, "prometheus.yml"), "global: {}\n");

  const port = await freePort(0);
  const program = await supervise(prometheus.file, [
    `--web.listen-address=127.0.0.1:${port}`,
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    ...(prometheus.root ? [`--web.local-assets=${prometheus.root}/usr/share/prometheus/web`] : []),
  ]);
  onTestFinished(() => program.end());
  const url = `http://127.0.0.1:${port}`;
  await vi.waitFor(async () => expect((await fetch(`${url}/-/ready`)).status).toBe(200), { timeout: 30_000 });

  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as {
    groups: { rules: { alert: string; expr: string }[] }[];
  };
  const samples = async (expr: string) => {
    const search = new URLSearchParams({ query: expr, time: String(now), stats: "all" });
    const { data } = (await (await fetch(`${url}/api/v1/query?${search}`)).json()) as {
      data: { stats: { samples: { totalQueryableSamples: number } } };
    };
    return data.stats.samples.totalQueryableSamples;
  };
  const costs = await Promise.all(groups.flatMap(({ rules }) => rules).map(({ expr }) => samples(expr)));
  const total = costs.reduce((sum, cost) => sum + cost, 0);
  expect(total).toBeGreaterThan(maxSamples / 2); // There is a day to read.
  expect(total).toBeLessThan(maxSamples);
});

/** What a Prometheus has scraped in the day before `now`, of one stage on which nothing changes, as OpenMetrics. */
function dayOfScrapes(now: number): string {
  const ofSampler = 'job="veza_ledger",stage="prod"';
  const ofReconciler = 'job="veza_reconciler",stage="prod"';
  const { actions, orphanRefunds, sweepDuration, lastRun } = reconcilerMetric;
  const families: Record<string, string[]> = {
    ...Object.fromEntries(checks.map(({ metric }) => [metric, [ofSampler]])),
    [oldestItemMetric]: checks.map(({ id }) => `${ofSampler},check="${id}"`),
    [checkSuccessMetric]: checks.map(({ id }) => `${ofSampler},check="${id}"`),
    [sampleTimestampMetric]: [ofSampler],
    [actions]: phases.map((phase) => `${ofReconciler},phase="${phase}"`),
    [orphanRefunds]: [ofReconciler],
    [`${sweepDuration}_count`]: [ofReconciler],
    [lastRun]: [ofReconciler],
    push_time_seconds: [ofSampler, ofReconciler],
    push_failure_time_seconds: [ofSampler, ofReconciler],
  };
  const lines: string[] = [];
  for (const [name, series] of Object.entries(families)) {
    lines.push(`# TYPE ${name} unknown`);
    for (const labels of series) {
      for (let time = now - daySeconds; time <= now; time += scrapeSeconds) lines.push(`${name}{${labels}} 1 ${time}`);
    }
  }
  return `${lines.join("\n")}\n# EOF\n`;
}
