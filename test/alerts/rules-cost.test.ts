// What the rules cost a Prometheus: the samples that they read.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished, vi } from "vitest";
import { alertOf, told } from "../../config/checks.ts";
import { acceptedMetric } from "../../lib/accepted.ts";
import { blindnessMetric } from "../../lib/blindness.ts";
import { checkSuccessMetric, checks, oldestItemMetric } from "../../lib/checks.ts";
import { phases, reconcilerMetric } from "../../lib/events.ts";
import { outboxMetric } from "../../lib/outbox.ts";
import { infoMetric, sampleTimestampMetric } from "../../lib/sample.ts";
import { freePort } from "../../local/ports.ts";
import { supervise } from "../../local/supervise.ts";
import { findProgram } from "../helpers/find-program.ts";
import { ask } from "../helpers/monitoring.ts";
import { shippedGroups } from "../helpers/rules.ts";

const scrapeSeconds = 15;
const daySeconds = 86_400;
const windows = ["1h", "3h", "6h", "12h", "1d"];
/**
 * Per check, stage and evaluation: of the groups that are evaluated each time, and of the group that is evaluated every
 * 5 minutes.
 */
const maxSamples = { often: 8_700, blind: 12_000 };

it("the rules read no more samples than they may for each check, for one stage with two weeks of scrapes", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-cost-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const now = Math.floor(Date.now() / 1000);
  const [promtool, prometheus] = await Promise.all([findProgram("promtool"), findProgram("prometheus")]);
  await writeFile(path.join(folder, "history.txt"), history(now));
  const toBlocks = [
    "tsdb",
    "create-blocks-from",
    "--max-block-duration=720h", // Hidden in its help. It reads the whole file once for each block.
    "openmetrics",
    path.join(folder, "history.txt"),
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
  await vi.waitFor(async () => expect((await fetch(`${url}/-/ready`)).status).toBe(200), { timeout: 120_000 });

  type Stats = { stats: { samples: { totalQueryableSamples: number } } };
  const samples = async (query: string) => {
    const { stats } = await ask<Stats>(url, "query", { query, time: String(now), stats: "all" });
    return stats.samples.totalQueryableSamples;
  };
  const costs = { often: 0, blind: 0 };
  for (const { name, rules } of await shippedGroups()) {
    const of = await Promise.all(rules.map(({ expr }) => samples(expr)));
    costs[name === "veza-ledger-blind" ? "blind" : "often"] += of.reduce((sum, cost) => sum + cost, 0);
  }
  for (const when of ["often", "blind"] as const) {
    const perCheck = costs[when] / checks.length;
    expect(perCheck, when).toBeGreaterThan(maxSamples[when] / 2); // There is something to read.
    expect(perCheck, when).toBeLessThan(maxSamples[when]);
  }
});

/**
 * What a Prometheus has scraped in the day before `now`, and recorded in the two weeks before, of one stage on which
 * nothing changes, as OpenMetrics.
 */
function history(now: number): string {
  const ofSampler = 'job="veza_ledger",stage="prod"';
  const ofReconciler = 'job="veza_reconciler",stage="prod"';
  const ofChecks = checks.map(({ id }) => `${ofSampler},check="${id}"`);
  const ofWindows = ofChecks.flatMap((labels) => windows.map((window) => `${labels},window="${window}"`));
  const { actions, orphanRefunds, sweepDuration, lastRun } = reconcilerMetric;
  const scraped: Record<string, string[]> = {
    ...Object.fromEntries(checks.map(({ metric }) => [metric, [ofSampler]])),
    [oldestItemMetric]: ofChecks,
    [acceptedMetric.rows]: ofChecks,
    [acceptedMetric.oldestUnaccepted]: ofChecks,
    [checkSuccessMetric]: ofChecks,
    [sampleTimestampMetric]: [ofSampler],
    [infoMetric]: [ofSampler],
    [blindnessMetric.newest]: ofChecks,
    [blindnessMetric.outside]: ofChecks.flatMap((labels) =>
      ["no_time", "ahead"].map((is) => `${labels},reason="${is}"`),
    ),
    [blindnessMetric.inserts]: [...new Set(checks.map(({ table }) => `${ofSampler},table="${table}"`))],
    [outboxMetric.rows]: ["waiting", "parked"].map((state) => `${ofSampler},state="${state}"`),
    [outboxMetric.oldest]: [ofSampler],
    [actions]: phases.map((phase) => `${ofReconciler},phase="${phase}"`),
    [orphanRefunds]: [ofReconciler],
    [`${sweepDuration}_count`]: [ofReconciler],
    [lastRun]: [ofReconciler],
    push_time_seconds: [ofSampler, ofReconciler],
    push_failure_time_seconds: [ofSampler, ofReconciler],
    // Recorded at each evaluation.
    "veza_reconciler:orphan_refunds:rise_1h": [ofReconciler],
    "veza_ledger:check_counted:rows": ofChecks,
    "veza_ledger:check_open:rows": ofChecks,
    "veza_ledger:check_oldest:time": ofChecks,
    "veza_ledger:check_waited:seconds": ofChecks,
    "veza_ledger:check_growing:rows": ofChecks,
    ALERTS: checks.flatMap((check) => [
      `${ofSampler},check="${check.id}",alertname="VezaLedgerBacklogGrowing",alertstate="firing"`,
      `${ofSampler},alertname="${alertOf(check)}",alertstate="firing",severity="${told[check.id].severity}"`,
    ]),
  };
  const recorded: Record<string, string[]> = {
    "veza_ledger:check_newest:max": ofChecks,
    "veza_ledger:check_answered": ofChecks,
    "veza_ledger:check_inserts:rise": ofChecks,
    "veza_ledger:check_late:rise": phases.map((phase) => `${ofSampler},check="${phase}"`),
    "veza_ledger:check_late:rows": phases.map((phase) => `${ofSampler},check="${phase}"`),
    "veza_ledger:table_inserts:rise": [...new Set(checks.map(({ table }) => `${ofSampler},table="${table}"`))],
    "veza_ledger:check_seen:slots": ofWindows,
    "veza_ledger:check_expected:slots": ofWindows,
  };
  const lines: string[] = [];
  const write = (families: Record<string, string[]>, lengthSeconds: number, stepSeconds: number) => {
    for (const [name, series] of Object.entries(families)) {
      lines.push(`# TYPE ${name} unknown`);
      for (const labels of series) {
        for (let time = now - lengthSeconds; time <= now; time += stepSeconds)
          lines.push(`${name}{${labels}} 1 ${time}`);
      }
    }
  };
  write(scraped, daySeconds, scrapeSeconds);
  write(recorded, 15 * daySeconds, 300);
  return `${lines.join("\n")}\n# EOF\n`;
}
