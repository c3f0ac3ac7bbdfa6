import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { dump, load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { checks } from "../lib/checks.ts";
import { findProgram, type ProgramName } from "../local/find-program.ts";
import { exportedMetrics } from "./helpers/metrics.ts";

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary?: string; description?: string; dashboard_url?: string; runbook_url?: string };
}

const rulesFile = "config/alertmanager/ledger.yml";
const unitTests = ["test/alerts.yml", "test/alerts-day.yml"];
let rules: Rule[];
beforeAll(async () => {
  const { groups } = load(await readFile(rulesFile, "utf8")) as { groups: { rules: Rule[] }[] };
  rules = groups.flatMap((group) => group.rules);
});

async function run(program: ProgramName, args: string[], environment: Record<string, string> = {}): Promise<string> {
  const { file } = await findProgram(program);
  const env = { ...process.env, ...environment };
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args, { env, maxBuffer: 64 * 1024 * 1024 });
    return stdout + stderr;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(stdout + stderr);
  }
}

describe("every alert fires when it should, not a minute earlier, and says what it should", () => {
  const timeout = 600_000; // A minute or two each, and longer on a machine that is busy.
  let folder: string;
  let ofChecks: string[];
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-alerts-"));
    ofChecks = await writeTestsOfChecks(folder);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("by Prometheus' own tool", { timeout }, async () => {
    const output = await run("promtool", ["test", "rules", ...unitTests, ...ofChecks]);
    expect(output.match(/SUCCESS/g)).toHaveLength(unitTests.length + checks.length);
  });

  it("by that of VictoriaMetrics", { timeout }, async () => {
    const files = [...unitTests, ...ofChecks].flatMap((file) => ["--files", file]);
    // Its storage has one name for everybody, and who runs it first has it.
    const args = ["unittest", "--disableAlertgroupLabel", ...files];
    const output = await run("vmalert-tool", args, { TMPDIR: folder });
    expect(output.match(/SUCCESS/g)).toHaveLength(unitTests.length + checks.length);
  });

  it("in each of the situations that a rule has to stand", async () => {
    const tests = await Promise.all(
      [...unitTests, ...ofChecks].map(async (file) => load(await readFile(file, "utf8")) as UnitTests),
    );
    const asked: Record<string, Set<string>> = {};
    const read = new Set<string>();
    for (const { name, alert_rule_test } of tests.flatMap((file) => file.tests)) {
      const situations = /\[(.*)\]$/.exec(name)?.[1]?.split(", ") ?? [];
      for (const { alertname, exp_alerts } of alert_rule_test) {
        for (const situation of situations) asked[situation] = (asked[situation] ?? new Set()).add(alertname);
        if (exp_alerts.some(({ exp_annotations }) => exp_annotations?.summary)) read.add(alertname);
      }
    }
    const names = new Set(rules.map(({ alert }) => alert));
    expect(read, "has its texts compared").toEqual(names);
    for (const situation of ["fires", "two stages", "vanished", "restart", "first", "wiped", "nothing"]) {
      expect(asked[situation], situation).toEqual(names);
    }
    const aboutChecks = [...names].filter((name) => !/Sampler|Reconciler|Counter|Push/.test(name)).sort();
    expect([...(asked.unknown ?? [])].sort()).toEqual(aboutChecks);
  });
});

interface UnitTests {
  tests: {
    name: string;
    alert_rule_test: { alertname: string; exp_alerts: { exp_annotations?: { summary?: string } }[] }[];
  }[];
}

/** Writes test/alerts-of-a-check.yml for every check, and the rules without their texts, into this folder. */
async function writeTestsOfChecks(folder: string): Promise<string[]> {
  const shipped = load(await readFile(rulesFile, "utf8")) as { groups: { rules: Partial<Rule>[] }[] };
  for (const rule of shipped.groups.flatMap((group) => group.rules)) delete rule.annotations;
  await writeFile(path.join(folder, "rules.yml"), dump(shipped));
  const template = await readFile("test/alerts-of-a-check.yml", "utf8");
  const files: string[] = [];
  for (const { id, metric } of checks) {
    const own = rules.find(({ expr }) => expr.startsWith(`last_over_time((${metric} >=`));
    if (!own) throw new Error(`${rulesFile} has no alert about ${id}`);
    const minutes = Number.parseInt(own.for ?? "", 10);
    const text = template
      .replaceAll("METRIC", metric)
      .replaceAll("ALERT", own.alert)
      .replaceAll("CHECK", id)
      .replaceAll("SEVERITY", own.labels.severity)
      .replaceAll(/MINUTES([+-]\d+)/g, (_, more) => String(minutes + Number(more)))
      .replace("RULES", "rules.yml");
    const file = path.join(folder, `${id}.yml`);
    await writeFile(file, text);
    files.push(file);
  }
  return files;
}

it("promtool, amtool and vmalert accept the examples", async () => {
  const checked = await run("promtool", ["check", "config", "config/prometheus/prometheus.yml"]);
  expect(checked).toContain(`${rules.length} rules found`);
  expect(await run("amtool", ["check-config", "config/alertmanager/alertmanager.yml"])).toContain("SUCCESS");
  expect(await run("vmalert", ["-dryRun", `-rule=${rulesFile}`])).not.toMatch(/error|fatal/);
});

it("the route sends pages and tickets to receivers of their own", async () => {
  const routeOf = async (severity: string) => {
    const args = ["config", "routes", "test", "--config.file=config/alertmanager/alertmanager.yml"];
    return (await run("amtool", [...args, `severity=${severity}`, "alertname=x"])).split("\n")[0];
  };
  expect([await routeOf("page"), await routeOf("ticket")]).toEqual(["pages", "tickets"]);
});

it("the two required pages are exactly as agreed", () => {
  const byName = Object.fromEntries(rules.map((rule) => [rule.alert, rule]));
  expect(byName.VezaLedgerStuckOrders).toMatchObject({
    expr: "last_over_time((veza_ledger_stuck_orders_pending >= 0)[1d:30s]) > 0",
    for: "10m",
    labels: { severity: "page" },
  });
  expect(byName.VezaLedgerOrphanRefunds).toMatchObject({
    expr: "last_over_time((veza_ledger_orphan_refund_rows >= 0)[1d:30s]) > 0",
    for: "5m",
    labels: { severity: "page" },
  });
});

it("every alert has prefix, severity, texts, and links to the dashboard and to its own section of the runbook", () => {
  expect(rules.length).toBeGreaterThan(13);
  for (const { alert, labels, annotations } of rules) {
    expect(alert).toMatch(/^VezaLedger[A-Z]\w+$/);
    expect(labels.severity).toMatch(/^(page|ticket)$/);
    expect(annotations.summary).toMatch(/\w/);
    expect(annotations.description).toMatch(/\.(\{\{ end \}\})?$/);
    expect(annotations.dashboard_url).toMatch(/^https:\/\/[^/]+\/d\/veza-ledger/);
    expect(annotations.runbook_url).toMatch(new RegExp(`^https://.+/docs/runbook\\.md#${alert.toLowerCase()}$`));
  }
});

it("the command of docs/on-call.md puts your addresses into every link", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-links-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const dashboard = ["config/grafana/ledger.json", "config/grafana/dashboard.ts"];
  const files = [rulesFile, ...dashboard, "docs/runbook.md", ...unitTests];
  for (const file of files) {
    await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
    await cp(file, path.join(folder, file));
  }
  const guesses = async (file: string) =>
    (await readFile(path.join(folder, file), "utf8")).match(/https:\/\/(repository|grafana)\.example/g) ?? [];
  for (const file of files) expect(await guesses(file), file).not.toEqual([]);

  const [, command = ""] = /```sh\n(sed [\s\S]*?)```/.exec(await readFile("docs/on-call.md", "utf8")) ?? [];
  await promisify(execFile)("bash", ["-euo", "pipefail", "-c", command], { cwd: folder });

  for (const file of files) expect(await guesses(file), file).toEqual([]);
  const linked = await readFile(path.join(folder, rulesFile), "utf8");
  expect(linked).toContain(
    "https://github.com/you/veza-ledger-metrics/blob/main/docs/runbook.md#vezaledgerstuckorders",
  );
  expect(linked).toContain("https://grafana.internal/d/veza-ledger");
});

it("the heatmap's cells are sweeps, each in one of them, whenever it ended, and none is a stage that is new", async () => {
  const { panels } = JSON.parse(await readFile("config/grafana/ledger.json", "utf8")) as {
    panels: { type: string; interval: string; targets: { expr: string }[] }[];
  };
  const heatmap = panels.find(({ type }) => type === "heatmap");
  expect(heatmap?.interval).toBe("30m");
  const expr = heatmap?.targets[0]?.expr.replaceAll("$stage", ".*").replaceAll("$__interval", "30m");
  const bucket = (stage: string) => `veza_reconciler_sweep_duration_seconds_bucket{stage="${stage}", le="3.2"}`;
  const cells = [1807, 3607, 5407, 7207].map((seconds, column) => ({
    expr,
    eval_time: `${seconds}s`,
    exp_samples: [{ labels: '{le="3.2"}', value: column === 1 || column === 2 ? 2 : 1 }],
  }));
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-heatmap-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = path.join(folder, "heatmap.yml");
  // A column begins and ends between two scrapes. One stage sweeps in the middle of each column; one just after its border, and
  // only twice; and one is first seen with 1000 sweeps.
  const input_series = [
    { series: bucket("middle"), values: "0x59 1x119 2x119 3x119 4x119" },
    { series: bucket("border"), values: "0x120 1x119 2x360" },
    { series: bucket("new"), values: "_x270 1000x360" },
  ];
  await writeFile(file, dump({ tests: [{ interval: "15s", input_series, promql_expr_test: cells }] }));
  expect(await run("promtool", ["test", "rules", file])).toContain("SUCCESS");
});

describe("metric names", () => {
  /** The metrics that a text names. Job names look the same, and so do the roles in SQL. */
  const namedIn = (text: string) =>
    (text.match(/\bveza_(?:ledger|reconciler)_\w+/g) ?? [])
      .map((name) => name.replace(/_(bucket|sum|count)$/, ""))
      .filter((name) => !/^veza_ledger_(sampler|receiver|oncall|local|doctor)$/.test(name));
  const read = (file: string) => readFile(file, "utf8");

  it.each([rulesFile, "docs/runbook.md", "README.md", "config/grafana/ledger.json"])(
    "every one in %s is exported by the code",
    async (file) => {
      const names = namedIn(await read(file));
      expect(names.length).toBeGreaterThan(0);
      expect(exportedMetrics).toEqual(expect.arrayContaining(names));
    },
  );

  it("every one that the code exports is in the README and on the dashboard", async () => {
    for (const file of ["README.md", "config/grafana/ledger.json"]) {
      expect(namedIn(await read(file))).toEqual(expect.arrayContaining(exportedMetrics));
    }
  });
});
