import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { load } from "js-yaml";
import { findProgram } from "../../local/find-program.ts";

/**
 * The shipped rules in a hurry, for a test on a real engine. An alert has to hold for a second, and a sampler is silent
 * after 4 seconds. The last known value is looked for in every second of ten minutes.
 */
export function hurried(rules: string): string {
  return rules
    .replaceAll(/for: \d+m/g, "for: 1s")
    .replaceAll("interval: 5m", "interval: 1s")
    .replaceAll(/\[(1d|1h|6h):(30s|1m)\]/g, "[10m:1s]")
    .replace("> 180", "> 4");
}

/** What an alert says, by its labels; its texts too, where a test compares them. */
interface ExpectedAlert {
  exp_labels: Record<string, string>;
  exp_annotations?: { summary: string; description: string };
}

/** A unit test of rules, as promtool and vmalert-tool take it. */
export interface UnitTest {
  name: string;
  interval: string;
  /** How often the rules are evaluated. */
  evaluation_interval: string;
  /** The only group of rules that is loaded, if not all of them. */
  group?: string | undefined;
  input_series: { series: string; values: string }[];
  alert_rule_test: { eval_time: string; alertname: string; exp_alerts: ExpectedAlert[] }[];
  promql_expr_test?: object[];
}

type Labels = Record<string, string>;
type ShortAlert = Labels | { labels: Labels; summary: string; description: string };

/** Unit tests in the short form of test/alerts: series by name, and what fires by name and by time. */
interface ShortTests {
  group?: string;
  evaluation_interval: string;
  tests: (Pick<UnitTest, "name" | "promql_expr_test"> & {
    interval?: string;
    evaluation_interval?: string;
    series: Record<string, string>;
    alerts: Record<string, Record<string, ShortAlert[]>>;
  })[];
}

/** The unit tests of a text of YAML in that form. A series or an alert without a job gets its usual job. */
export function unitTestsIn(text: string): UnitTest[] {
  const { group, evaluation_interval, tests } = load(text) as ShortTests;
  return tests.map(({ series, alerts, interval = "1m", ...test }) => ({
    group,
    evaluation_interval,
    ...test,
    interval,
    input_series: Object.entries(series).map(([name, values]) => ({ series: withJob(name), values })),
    alert_rule_test: Object.entries(alerts).flatMap(([alertname, looks]) =>
      Object.entries(looks).map(([eval_time, expected]) => ({
        eval_time,
        alertname,
        exp_alerts: expected.map(expectedAlert),
      })),
    ),
  }));
}

function withJob(series: string): string {
  const [, metric = "", labels = ""] = /^([\w:]+)(?:\{(.*)\})?$/.exec(series) ?? [];
  if (labels.startsWith("job=")) return series;
  const job = metric.startsWith("veza_reconciler") ? "veza_reconciler" : "veza_ledger";
  return `${metric}{${[`job="${job}"`, labels].filter(Boolean).join(", ")}}`;
}

function expectedAlert(alert: ShortAlert): ExpectedAlert {
  if (typeof alert.labels !== "object") return { exp_labels: { job: "veza_ledger", ...(alert as Labels) } };
  const { labels, summary = "", description = "" } = alert as Exclude<ShortAlert, Labels>;
  return { exp_labels: { job: "veza_ledger", ...labels }, exp_annotations: { summary, description } };
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
