import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { dump, load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { checks } from "../../lib/checks.ts";
import { findProgram, type ProgramName } from "../../local/find-program.ts";
import { exportedMetrics } from "../helpers/metrics.ts";
import { unitTest } from "../helpers/rules.ts";

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary?: string; description?: string; dashboard_url?: string; runbook_url?: string };
}

const rulesFile = "config/alertmanager/ledger.yml";
const unitTests = [
  "test/alerts/alerts.yml",
  "test/alerts/alerts-texts.yml",
  "test/alerts/alerts-day.yml",
  "test/alerts/alerts-evidence.yml",
];
let rules: Rule[];
/** The alerts of test/alerts/alerts-evidence.yml, which has a history for each of their situations. */
let aboutEvidence: Set<string>;
beforeAll(async () => {
  const { groups } = load(await readFile(rulesFile, "utf8")) as { groups: { name: string; rules: Rule[] }[] };
  // alerts-blind.test.ts has the group that compares with weeks. Rules that record have no name as an alert.
  rules = groups.filter(({ name }) => name !== "veza-ledger-blind").flatMap((group) => group.rules);
  rules = rules.filter(({ alert }) => alert);
  const evidence = groups.filter(({ name }) => name === "veza-ledger-evidence");
  aboutEvidence = new Set(evidence.flatMap((group) => group.rules).map(({ alert }) => alert));
});

async function run(program: ProgramName, args: string[]): Promise<string> {
  const { file } = await findProgram(program);
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args);
    return stdout + stderr;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(stdout + stderr);
  }
}

interface UnitTest {
  name: string;
  input_series: unknown[];
  alert_rule_test: { eval_time: string; alertname: string; exp_alerts: { exp_annotations?: object }[] }[];
}
interface UnitTests {
  rule_files: string[];
  evaluation_interval: string;
  tests: UnitTest[];
}

describe("every alert fires when it should, not a minute earlier, and says what it should", () => {
  const timeout = 900_000; // Seconds each, and longer on a machine that is busy.
  let folder: string;
  let files: string[];
  let tests: UnitTest[];
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-alerts-"));
    const texts = await Promise.all(unitTests.map((file) => readFile(file, "utf8")));
    const all = texts.map((text) => load(text) as UnitTests);
    all.push(testsOfChecks(await readFile("test/alerts/alerts-of-a-check.yml", "utf8")));
    tests = all.flatMap((file) => file.tests);
    files = await writeTests(folder, all);
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.concurrent.each([
    { engine: "Prometheus", tool: "promtool" as const },
    { engine: "VictoriaMetrics", tool: "vmalert-tool" as const },
  ])("by the tool of $engine", { timeout }, async ({ tool }) => {
    const output = await unitTest(tool, folder, files);
    expect(output).not.toMatch(/FAILED/);
    expect(output.match(/SUCCESS/g)).toHaveLength(files.length);
  });

  it("in each of the situations that a rule has to stand", () => {
    const asked: Record<string, Set<string>> = {};
    const read = new Set<string>();
    for (const { name, alert_rule_test } of tests) {
      const situations = /\[(.*)\]$/.exec(name)?.[1]?.split(", ") ?? [];
      for (const { alertname, exp_alerts } of alert_rule_test) {
        for (const situation of situations) asked[situation] = (asked[situation] ?? new Set()).add(alertname);
        if (exp_alerts.some(({ exp_annotations }) => exp_annotations)) read.add(alertname);
      }
    }
    const names = new Set(rules.map(({ alert }) => alert));
    expect(read, "has its texts compared in test/alerts/alerts-texts.yml").toEqual(names);
    for (const alert of aboutEvidence) names.delete(alert);
    for (const situation of ["fires", "two stages", "vanished", "restart", "first", "wiped", "nothing"]) {
      expect(asked[situation], situation).toEqual(names);
    }
    const aboutChecks = [...names].filter((name) => !/Sampler|Reconciler|Another/.test(name)).sort();
    expect([...(asked.unknown ?? [])].sort()).toEqual(expect.arrayContaining(aboutChecks));
  });
});

/**
 * Writes these tests into this folder: tests about the same alerts into one file, beside the rules of these alerts
 * alone. A tool evaluates all rules that it is given, which would take six times as long. Resolves to the files' names.
 */
async function writeTests(folder: string, all: UnitTests[]): Promise<string[]> {
  const asked = ({ alert_rule_test }: UnitTest) =>
    [...new Set(alert_rule_test.map(({ alertname }) => alertname))].sort();
  const single = all.flatMap((file) => file.tests.map((test) => ({ ...file, tests: [test], alerts: asked(test) })));
  const alike = Object.groupBy(single, ({ rule_files, evaluation_interval, alerts }) =>
    [...rule_files, evaluation_interval, ...alerts].join(),
  );
  return Promise.all(
    Object.values(alike).map(async (same = [], index) => {
      const [{ rule_files = [], evaluation_interval = "", alerts = [] } = {}] = same;
      const rulesName = `${index}-${rule_files[0]}`;
      await writeFile(path.join(folder, rulesName), await rulesFor(alerts, rule_files[0] === "texts.yml"));
      const file = path.join(folder, `${index}.yml`);
      const tests = same.flatMap((one) => one.tests);
      await writeFile(file, dump({ rule_files: [rulesName], evaluation_interval, tests }));
      return file;
    }),
  );
}

/** The shipped rules of these alerts, as YAML, without their links; and without any text, if no test looks at it. */
async function rulesFor(alerts: string[], withTexts: boolean): Promise<string> {
  const { groups } = load(await readFile(rulesFile, "utf8")) as { groups: { rules: Partial<Rule>[] }[] };
  for (const group of groups) {
    group.rules = group.rules
      .filter(({ alert }) => !alert || alerts.includes(alert))
      .map(({ annotations: { summary, description } = {}, ...rule }) =>
        withTexts ? { ...rule, annotations: { summary, description } as Rule["annotations"] } : rule,
      );
  }
  return dump({ groups: groups.filter((group) => group.rules.some(({ alert }) => alert)) });
}

/** The tests of alerts-of-a-check.yml, each for all checks at once: a tool evaluates all rules in any case. */
function testsOfChecks(template: string): UnitTests {
  const perCheck = checks.map(({ id, metric }) => {
    const own = rules.find(({ expr }) => new RegExp(`^last_over_time\\(\\s+\\(\\s+${metric}\\b`).test(expr));
    if (!own) throw new Error(`${rulesFile} has no alert about ${id}`);
    const minutes = Number.parseInt(own.for ?? "", 10);
    const text = template
      .replaceAll("METRIC", metric)
      .replaceAll("ALERT", own.alert)
      .replaceAll("CHECK", id)
      .replaceAll("SEVERITY", own.labels.severity)
      .replaceAll(/MINUTES([+-]\d+)/g, (_, more) => String(minutes + Number(more)));
    return load(text) as UnitTests;
  });
  const [first] = perCheck as [UnitTests];
  const merged = first.tests.map((test, index) => {
    const same = perCheck.map(({ tests }) => tests[index] ?? test);
    const looks = Object.groupBy(
      same.flatMap((of) => of.alert_rule_test),
      ({ eval_time, alertname }) => `${eval_time} ${alertname}`,
    );
    return {
      ...test,
      input_series: same.flatMap((of) => of.input_series),
      alert_rule_test: Object.values(looks).map((look = []) => ({
        ...(look[0] as UnitTest["alert_rule_test"][number]),
        exp_alerts: look.flatMap(({ exp_alerts }) => exp_alerts),
      })),
    };
  });
  return { ...first, tests: merged };
}

it("promtool, amtool and vmalert accept the examples", async () => {
  const checked = await run("promtool", ["check", "config", "config/prometheus/prometheus.yml"]);
  expect(checked).toMatch(/ \d\d rules found/);
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

it("the two required pages are exactly as agreed: rows that nobody has accepted, for 10 and for 5 minutes", () => {
  const agreed = (metric: string, check: string) => `last_over_time(
  (
    ${metric}
      - ignoring (check) veza_ledger_accepted_rows{check="${check}"} >= 0
    or
    ${metric} + 0 >= 0
  )[1d:30s]
) > 0
or
`;
  const pageOf = (name: string) => rules.find(({ alert, labels }) => alert === name && labels.severity === "page");
  expect(pageOf("VezaLedgerStuckOrders")).toMatchObject({
    expr: expect.stringContaining(agreed("veza_ledger_stuck_orders_pending", "stuck_orders")),
    for: "10m",
  });
  expect(pageOf("VezaLedgerOrphanRefunds")).toMatchObject({
    expr: expect.stringContaining(agreed("veza_ledger_orphan_refund_rows", "orphan_refunds")),
    for: "5m",
  });
});

it("every alert has prefix, severity, texts, and links to the dashboard and to its own page of the runbook", () => {
  expect(rules.length).toBeGreaterThan(13);
  for (const { alert, labels, annotations } of rules) {
    expect(alert).toMatch(/^VezaLedger[A-Z]\w+$/);
    expect(labels.severity).toMatch(/^(page|ticket)$/);
    expect(annotations.summary).toMatch(/\w/);
    expect(annotations.description).toMatch(/\.(\{\{ end \}\})?$/);
    expect(annotations.dashboard_url).toMatch(/^https:\/\/[^/]+\/d\/veza-ledger/);
    expect(annotations.runbook_url).toMatch(new RegExp(`^https://.+/docs/runbook/${alert}\\.md$`));
  }
});

it("the command of docs/on-call.md puts your addresses into every link, and leaves nothing else behind", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-links-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const files = [rulesFile, "config/grafana/ledger.json", "config/grafana/dashboard.ts", "docs/runbook/reasons.md"];
  // You may have run that command before these tests, so the first step is to take it back.
  const { runbook_url = "", dashboard_url = "" } = rules[0]?.annotations ?? {};
  const [repository = ""] = runbook_url.split("/docs/runbook/");
  const [grafana = ""] = dashboard_url.split("/d/veza-ledger");
  const textOf = (file: string) => readFile(path.join(folder, file), "utf8");
  const yours = {
    repository: "https://github.com/you/veza-ledger-metrics/blob/main",
    grafana: "https://grafana.internal",
  };
  const expected: Record<string, string> = {};
  for (const file of files) {
    const linked = (await readFile(file, "utf8")).replaceAll(repository, "REPOSITORY").replaceAll(grafana, "GRAFANA");
    expect(linked, file).toMatch(/REPOSITORY|GRAFANA/);
    const fill = (by: typeof yours) => linked.replaceAll("REPOSITORY", by.repository).replaceAll("GRAFANA", by.grafana);
    expected[file] = fill(yours);
    await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
    await writeFile(
      path.join(folder, file),
      fill({ repository: "https://repository.example", grafana: "https://grafana.example" }),
    );
  }

  const [, command = ""] = /```sh\n(perl [\s\S]*?)```/.exec(await readFile("docs/on-call.md", "utf8")) ?? [];
  await promisify(execFile)("bash", ["-euo", "pipefail", "-c", command], { cwd: folder });

  for (const file of files) expect(await textOf(file), file).toBe(expected[file]);
  const left = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  expect(left).toHaveLength(files.length);
});

it("the heatmap has each sweep in one cell, whenever it ended, and no sweep from before a stage was seen", async () => {
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
  // A column begins and ends between two scrapes. One stage sweeps in the middle of each column. Another stage sweeps
  // twice, just after a border. The third is first seen with 1000 sweeps.
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

  it.each([rulesFile, "docs/runbook", "README.md", "config/grafana/ledger.json"])(
    "every one in %s is exported by the code",
    async (file) => {
      const isFolder = !path.extname(file);
      const files = isFolder ? (await readdir(file)).map((name) => path.join(file, name)) : [file];
      const names = (await Promise.all(files.map(read))).flatMap(namedIn);
      expect(names.length).toBeGreaterThan(0);
      expect(exportedMetrics, "metrics of lib/checks.ts and lib/events.ts").toEqual(expect.arrayContaining(names));
    },
  );

  it("every one that the code exports is in the README and on the dashboard", async () => {
    for (const file of ["README.md", "config/grafana/ledger.json"]) {
      expect(namedIn(await read(file)), file).toEqual(expect.arrayContaining(exportedMetrics));
    }
  });
});
