import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { dump, load } from "js-yaml";
import { findProgram } from "./find-program.ts";
import { isAlert, shippedGroups } from "./rules.ts";

type Groups = Awaited<ReturnType<typeof shippedGroups>>;

/** The text of an alert: the parts that a test compares. */
type Text = { summary?: string; description?: string };

/** An alert by its labels; its text too, where a test compares it. */
interface ExpectedAlert {
  exp_labels: Labels;
  exp_annotations?: Text;
}

/** A unit test of rules, as promtool and vmalert-tool take it. */
interface UnitTest {
  name: string;
  interval: string;
  /** How often the rules are evaluated. */
  evaluation_interval: string;
  input_series: { series: string; values: string }[];
  alert_rule_test: { eval_time: string; alertname: string; exp_alerts: ExpectedAlert[] }[];
}

type Labels = Record<string, string>;
/** When an alert fires, and its labels; or also its texts. An alert without a job has `job: none`. */
type Firing = ({ at: string } & Labels) | ({ at: string; labels: Labels } & Text);

/** Unit tests in the short form of test/alerts: series by name, and under the name of an alert what fires, and when. */
interface ShortTests {
  evaluation_interval: string;
  tests: (Pick<UnitTest, "name"> & {
    interval?: string;
    evaluation_interval?: string;
    series: Record<string, string>;
    /** Times have spaces between them: at `quiet`, none fires. */
    alerts: Record<string, { quiet?: string; fires?: Firing[] }>;
  })[];
}

/**
 * The unit tests of a text of YAML in that form. A series or an alert without a job gets its usual job, `label="a|b"` is
 * a series for each value, and `stage: a|b` an alert for each. Each series is there twice, as from a gateway that is
 * scraped twice under labels that differ: no alert may fail by it, or fire twice. What a rule would record is there once.
 */
export function unitTestsIn(text: string): UnitTest[] {
  const { evaluation_interval, tests } = load(text) as ShortTests;
  return tests.map(({ series, alerts, interval = "1m", ...test }) => ({
    evaluation_interval,
    ...test,
    interval,
    input_series: Object.entries(series).flatMap(([names, values]) =>
      eachOf(names).flatMap((name) =>
        isRecord(name)
          ? { series: name, values }
          : ["", ', scraped="again"'].map((label) => ({ series: withJob(name).replace(/\}$/, `${label}}`), values })),
      ),
    ),
    alert_rule_test: Object.entries(alerts).flatMap(([alertname, { quiet = "", fires = [] }]) =>
      [...new Set([quiet, ...fires.map(({ at }) => at)].join(" ").trim().split(" "))].map((eval_time) => ({
        eval_time,
        alertname,
        exp_alerts: fires.filter(({ at }) => at.split(" ").includes(eval_time)).flatMap(expectedAlerts),
      })),
    ),
  }));
}

function eachOf(series: string): string[] {
  const [before = "", values = "", after = ""] = series.split(/"([^"]*\|[^"]*)"/);
  return values ? values.split("|").map((value) => `${before}"${value}"${after}`) : [series];
}

const isRecord = (series: string) => series.includes(":");

function withJob(series: string): string {
  const [, metric = "", labels = ""] = /^([\w:]+)(?:\{(.*)\})?$/.exec(series) ?? [];
  if (labels.startsWith("job=")) return series;
  const job = metric.startsWith("veza_reconciler") ? "veza_reconciler" : "veza_ledger";
  return `${metric}{${[`job="${job}"`, labels].filter(Boolean).join(", ")}}`;
}

function expectedAlerts(firing: Firing): ExpectedAlert[] {
  const hasTexts = typeof firing.labels === "object";
  const { at: _, job = "veza_ledger", stage = "", ...labels } = (hasTexts ? firing.labels : firing) as Labels;
  const { at: _at, labels: _labels, ...exp_annotations } = firing;
  return stage.split("|").map((each) => ({
    exp_labels: { ...labels, ...(job !== "none" && { job }), ...(each && { stage: each }) },
    ...(hasTexts && { exp_annotations }),
  }));
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

/**
 * Writes the tests into this folder: tests about the same alerts into one file, next to the rules of these alerts. A
 * tool evaluates all rules that it is given. Resolves to the files' names.
 */
export async function writeTests(folder: string, tests: UnitTest[]): Promise<string[]> {
  const groups = await shippedGroups();
  const alike = Object.groupBy(tests, (test) =>
    [test.evaluation_interval, ...asked(test), ...partsRead(test), ...given(test)].join(),
  );
  return Promise.all(
    Object.values(alike).map(async (same = [], index) => {
      const [first] = same as [UnitTest];
      await writeFile(path.join(folder, `${index}-rules.yml`), rulesFor(first, groups));
      const { evaluation_interval } = first;
      const file = {
        rule_files: [`${index}-rules.yml`],
        evaluation_interval,
        tests: same.map(({ evaluation_interval: _, ...test }) => test),
      };
      await writeFile(path.join(folder, `${index}.yml`), dump(file, { noRefs: true }));
      return `${index}.yml`;
    }),
  );
}

/** The parts of texts that a test compares: each of its alerts has these then. */
function partsRead({ alert_rule_test }: UnitTest): (keyof Text)[] {
  const texts = alert_rule_test.flatMap(({ exp_alerts }) =>
    exp_alerts.map(({ exp_annotations = {} }) => exp_annotations),
  );
  return (["summary", "description"] as const).filter((part) => texts.some((text) => part in text));
}

/** The names of the alerts that a test asks about. */
const asked = ({ alert_rule_test }: UnitTest) => [...new Set(alert_rule_test.map(({ alertname }) => alertname))].sort();

/** The names of what a rule records, and a test gives. */
const given = ({ input_series }: UnitTest) => [
  ...new Set(input_series.filter(({ series }) => isRecord(series)).map(({ series }) => series.replace(/\{.*$/, ""))),
];

/** The shipped rules of a test's alerts, and the rules that record what they read, unless the test gives it. */
function rulesFor(test: UnitTest, groups: Groups): string {
  const names = asked(test);
  const inTest = given(test);
  const rules = groups.flatMap(({ rules }) => rules);
  const chosen = new Set(rules.filter((rule) => isAlert(rule) && names.includes(rule.alert)));
  for (const { expr } of chosen) {
    const isRead = (record = "") => record && expr.includes(record) && !inTest.includes(record);
    for (const rule of rules) if (isRead(rule.record)) chosen.add(rule);
  }
  const withTexts = (rule: Groups[number]["rules"][number]) => {
    if (!isAlert(rule)) return rule;
    const parts = partsRead(test).map((part) => [part, rule.annotations[part]]);
    return { ...rule, annotations: Object.fromEntries(parts) };
  };
  const played = groups.map(({ rules, ...group }) => ({
    ...group,
    rules: rules.filter((rule) => chosen.has(rule)).map(withTexts),
  }));
  return dump({ groups: played.filter(({ rules }) => rules.length > 0) }, { noRefs: true });
}
