import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { load } from "js-yaml";
import { findProgram } from "./find-program.ts";

export const rulesFile = "config/alertmanager/ledger.yml";

/** A rule that makes an alert. Rules that record have only an expression in common with it. */
export interface AlertRule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: Text & { dashboard_url: string; runbook_url: string };
}

/** The groups of the shipped rules. */
export async function shippedGroups(): Promise<{ name: string; rules: Pick<AlertRule, "expr">[] }[]> {
  return (load(await readFile(rulesFile, "utf8")) as { groups: { name: string; rules: AlertRule[] }[] }).groups;
}

export const isAlert = (rule: object): rule is AlertRule => "alert" in rule;

/** The shipped rules that make alerts. */
export const shippedAlerts = async (): Promise<AlertRule[]> =>
  (await shippedGroups()).flatMap(({ rules }) => rules.filter(isAlert));

/**
 * The shipped rules in a hurry, for a test on a real engine. An alert has to hold for a second, a sampler is silent
 * after 4 seconds, and an hour of failed orphans is 20 seconds. The last known value is looked for in ten minutes.
 */
export async function hurriedRules(): Promise<string> {
  return (await readFile(rulesFile, "utf8"))
    .replaceAll(/for: \d+m/g, "for: 1s")
    .replaceAll("interval: 5m", "interval: 1s")
    .replaceAll(/\[(1d|1h|2h|23h):(30s|1m|5m)\]/g, "[10m:1s]")
    .replaceAll(/(orphan_refunds_total\[\S+ offset) 1h/g, "$1 20s")
    .replaceAll(/(check_success\{.*?\})\[5m\]/g, "$1[5s]")
    .replaceAll(/(?<=[<>] )180\b/g, "4");
}

/** The text of an alert: the parts that a test compares. */
export type Text = { summary?: string; description?: string };

/** An alert by its labels; its text too, where a test compares it. */
interface ExpectedAlert {
  exp_labels: Labels;
  exp_annotations?: Text;
}

/** A unit test of rules, as promtool and vmalert-tool take it. */
export interface UnitTest {
  name: string;
  interval: string;
  /** How often the rules are evaluated. */
  evaluation_interval: string;
  input_series: { series: string; values: string }[];
  alert_rule_test: { eval_time: string; alertname: string; exp_alerts: ExpectedAlert[] }[];
}

type Labels = Record<string, string>;
/** An alert without a job has `job: none`. */
type ShortAlert = Labels | ({ labels: Labels } & Text);

/** Unit tests in the short form of test/alerts: series by name, and what fires by name and by times. */
interface ShortTests {
  evaluation_interval: string;
  tests: (Pick<UnitTest, "name"> & {
    interval?: string;
    evaluation_interval?: string;
    series: Record<string, string>;
    alerts: Record<string, Record<string, ShortAlert[]>>;
  })[];
}

/**
 * The unit tests of a text of YAML in that form. A series or an alert without a job gets its usual job, and
 * `label="a|b"` is a series for each value.
 */
export function unitTestsIn(text: string): UnitTest[] {
  const { evaluation_interval, tests } = load(text) as ShortTests;
  return tests.map(({ series, alerts, interval = "1m", ...test }) => ({
    evaluation_interval,
    ...test,
    interval,
    input_series: Object.entries(series).flatMap(([names, values]) =>
      eachOf(names).map((name) => ({ series: withJob(name), values })),
    ),
    alert_rule_test: Object.entries(alerts).flatMap(([alertname, looks]) =>
      Object.entries(looks).flatMap(([times, expected]) =>
        times.split(" ").map((eval_time) => ({ eval_time, alertname, exp_alerts: expected.map(expectedAlert) })),
      ),
    ),
  }));
}

function eachOf(series: string): string[] {
  const [before = "", values = "", after = ""] = series.split(/"([^"]*\|[^"]*)"/);
  return values ? values.split("|").map((value) => `${before}"${value}"${after}`) : [series];
}

function withJob(series: string): string {
  const [, metric = "", labels = ""] = /^([\w:]+)(?:\{(.*)\})?$/.exec(series) ?? [];
  if (labels.startsWith("job=")) return series;
  const job = metric.startsWith("veza_reconciler") ? "veza_reconciler" : "veza_ledger";
  return `${metric}{${[`job="${job}"`, labels].filter(Boolean).join(", ")}}`;
}

function expectedAlert(alert: ShortAlert): ExpectedAlert {
  if (typeof alert.labels !== "object") return { exp_labels: withUsualJob(alert as Labels) };
  const { labels, ...exp_annotations } = alert as Exclude<ShortAlert, Labels>;
  return { exp_labels: withUsualJob(labels), exp_annotations };
}

function withUsualJob({ job = "veza_ledger", ...labels }: Labels): Labels {
  return job === "none" ? labels : { job, ...labels };
}

/**
 * Runs files of unit tests of rules with an engine's own tool, in `folder`. Resolves to its output, also after
 * failures.
 */
export async function unitTest(tool: "promtool" | "vmalert-tool", folder: string, files: string[]): Promise<string> {
  const args =
    tool === "promtool"
      ? ["test", "rules", ...files]
      : ["unittest", "--disableAlertgroupLabel", ...files.flatMap((file) => ["--files", file])];
  const { file } = await findProgram(tool);
  const options = { cwd: folder, env: { ...process.env, TMPDIR: folder }, maxBuffer: 64 * 1024 * 1024 };
  while (true) {
    const { stdout, stderr } = await promisify(execFile)(file, args, options).catch((error) => error);
    // vmalert-tool has one port for everybody: another run has to end first.
    if (!stderr.includes("address already in use")) return stdout + stderr;
    await sleep(1_000);
  }
}
