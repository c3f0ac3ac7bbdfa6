import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { dump, load } from "js-yaml";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { alertOf, isPage, told } from "../../config/checks.ts";
import { type Check, checks } from "../../lib/checks.ts";
import { findProgram, type ProgramName } from "../../local/find-program.ts";
import { exportedMetrics } from "../helpers/metrics.ts";
import { type UnitTest, unitTest, unitTestsIn } from "../helpers/rules.ts";

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary?: string; description?: string; dashboard_url?: string; runbook_url?: string };
}

// When alerts fire, and what they say: the unit tests of alerts.yml and alerts-….yml by both engines' tools. Next to
// them, what the rules, the route and the links have in common.

const rulesFile = "config/alertmanager/ledger.yml";
const unitTestFiles = ["alerts", "alerts-texts", "alerts-day", "alerts-evidence", "alerts-blind"];
let groups: { name: string; rules: Partial<Rule>[] }[];
let rules: Rule[];
beforeAll(async () => {
  ({ groups } = load(await readFile(rulesFile, "utf8")) as { groups: typeof groups });
  // Rules that record have no name as an alert.
  rules = groups.flatMap((group) => group.rules).filter(({ alert }) => alert) as Rule[];
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

describe("every alert fires when it should, not a minute earlier, and says what it should", () => {
  const timeout = 900_000; // Seconds each, and longer on a machine that is busy.
  let tests: UnitTest[];
  beforeAll(async () => {
    const read = (name: string) => readFile(`test/alerts/${name}.yml`, "utf8");
    const texts = await Promise.all(unitTestFiles.map(read));
    tests = [...texts.flatMap(unitTestsIn), ...testsOfChecks(await read("alerts-of-a-check"))];
  });

  it.concurrent.for([
    { engine: "Prometheus", tool: "promtool" as const },
    { engine: "VictoriaMetrics", tool: "vmalert-tool" as const },
  ])("by the tool of $engine", { timeout }, async ({ tool }, context) => {
    const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-alerts-"));
    context.onTestFinished(() => rm(folder, { recursive: true }));
    // vmalert-tool takes half a minute of CPU time for weeks of 5 minutes: CI has it, `npm test` has promtool's.
    const isPlayed = ({ group }: UnitTest) => tool === "promtool" || process.env.CI || group !== "veza-ledger-blind";
    const files = await writeTests(folder, tests.filter(isPlayed), tool);
    const output = await unitTest(tool, folder, files);
    expect(output).not.toMatch(/FAILED/);
    expect(output.match(/SUCCESS/g), output).toHaveLength(files.length);
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
    expect(read, "has its texts compared").toEqual(names);
    // alerts-evidence.yml and alerts-blind.yml have a history for each situation of their alerts.
    const own = groups.filter(({ name }) => /-(evidence|blind)$/.test(name)).flatMap((group) => group.rules);
    for (const { alert = "" } of own) names.delete(alert);
    for (const situation of ["fires", "two stages", "vanished", "restart", "first", "wiped", "nothing"]) {
      expect(asked[situation], situation).toEqual(names);
    }
    const aboutChecks = [...names].filter((name) => !/Sampler|Reconciler|Another/.test(name)).sort();
    expect([...(asked.unknown ?? [])].sort()).toEqual(expect.arrayContaining(aboutChecks));
  });
});

/**
 * Writes these tests into this folder: tests about the same alerts into one file, next to the rules of these alerts
 * alone. A tool evaluates all rules that it is given, which would take six times as long. Resolves to the files' names.
 */
async function writeTests(folder: string, all: UnitTest[], tool: "promtool" | "vmalert-tool"): Promise<string[]> {
  const asked = ({ alert_rule_test }: UnitTest) =>
    [...new Set(alert_rule_test.map(({ alertname }) => alertname))].sort();
  const alike = Object.groupBy(all, (test) =>
    [test.group, test.evaluation_interval, hasTexts(test), ...asked(test)].join(),
  );
  return Promise.all(
    Object.values(alike).map(async (same = [], index) => {
      const [first] = same as [UnitTest];
      const rulesName = `${index}-rules.yml`;
      await writeFile(path.join(folder, rulesName), rulesFor(asked(first), hasTexts(first), first.group));
      const tests = same.map(({ group: _, evaluation_interval: __, promql_expr_test, ...test }) => ({
        ...test,
        // vmalert-tool has another name for what is asked next to the alerts.
        ...(promql_expr_test && tool === "promtool" ? { promql_expr_test } : {}),
      }));
      const { evaluation_interval } = first;
      await writeFile(
        path.join(folder, `${index}.yml`),
        dump({ rule_files: [rulesName], evaluation_interval, tests }, { noRefs: true }),
      );
      return `${index}.yml`;
    }),
  );
}

/** Whether a test compares texts. */
const hasTexts = ({ alert_rule_test }: UnitTest) =>
  alert_rule_test.some(({ exp_alerts }) => exp_alerts.some(({ exp_annotations }) => exp_annotations));

/** The shipped rules of these alerts, as YAML, without their links; and without any text, if no test looks at it. */
function rulesFor(alerts: string[], withTexts: boolean, only?: string): string {
  const chosen = groups
    .filter(({ name }) => !only || name === only)
    .map((group) => ({
      ...group,
      rules: group.rules
        .filter(({ alert }) => !alert || alerts.includes(alert))
        .map(({ annotations: { summary, description } = {}, ...rule }) =>
          withTexts && rule.alert ? { ...rule, annotations: { summary, description } } : rule,
        ),
    }));
  return dump({ groups: chosen.filter((group) => group.rules.some(({ alert }) => alert)) }, { noRefs: true });
}

/** The tests of alerts-of-a-check.yml, each for all checks at once: a tool evaluates all rules in any case. */
function testsOfChecks(template: string): UnitTest[] {
  const perCheck = checks.map((check) => {
    const { severity, noun, means, lost, repairedBy } = told[check.id];
    const own = rules.find(({ alert }) => alert === alertOf(check));
    const minutes = Number.parseInt(own?.for ?? "", 10);
    const words = {
      METRIC: check.metric,
      ALERT: alertOf(check),
      CHECK: check.id,
      SEVERITY: severity,
      NOUN: noun,
      MEANS: means,
      LOST: lost,
      PHASE: repairedBy ?? check.id,
      NOBODY: repairedBy ? "" : " The reconciler does not repair them.",
    };
    const text = template
      .replaceAll(/LATE\((\w+)\)/g, repairedBy ? ", and $1 repaired late in the last hour" : "")
      .replaceAll(/MINUTES([+-]\d+)/g, (_, more) => String(minutes + Number(more)))
      .replaceAll(new RegExp(Object.keys(words).join("|"), "g"), (word) => words[word as keyof typeof words]);
    return unitTestsIn(text).map((test) => ofCheck(check, test));
  });
  return (perCheck[0] ?? []).map((test, index) => {
    const same = perCheck.map((tests) => tests[index] ?? test);
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
}

/** What a test of all checks is for this check. */
function ofCheck(check: Check, test: UnitTest): UnitTest {
  // The texts about orphans are in alerts-texts.yml, since their alert tells of failed orphans, too.
  if (test.name.startsWith("its text") && check.id === "orphan_refunds")
    return { ...test, input_series: [], alert_rule_test: [] };
  // Nobody is woken for an old row who was woken for the row already.
  const isAsked = ({ alertname }: { alertname: string }) => alertname !== "VezaLedgerRowsTooOld" || !isPage(check);
  const alert_rule_test = test.alert_rule_test.map((look) => (isAsked(look) ? look : { ...look, exp_alerts: [] }));
  return { ...test, alert_rule_test };
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

it("the two required pages wait for as long as agreed; complete.test.ts has their conditions", () => {
  const pageOf = (name: string) => rules.find(({ alert, labels }) => alert === name && labels.severity === "page");
  expect(pageOf("VezaLedgerStuckOrders")?.for).toBe("10m");
  expect(pageOf("VezaLedgerOrphanRefunds")?.for).toBe("5m");
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

it("the command of docs/deploy.md puts your addresses into every link, and leaves nothing else behind", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-links-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const files = [
    rulesFile,
    "config/alertmanager/alert-of-a-check.yml",
    "config/grafana/ledger.json",
    "config/grafana/dashboard.ts",
    "docs/runbook/reasons.md",
  ];
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

  const [, command = ""] = /```sh\n(perl [\s\S]*?)```/.exec(await readFile("docs/deploy.md", "utf8")) ?? [];
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
