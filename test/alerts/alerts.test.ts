// When alerts fire, and what they say, by both engines' tools; and what the rules, the route and the links share.
import { execFile } from "node:child_process";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { dump } from "js-yaml";
import { beforeAll, describe, expect, it } from "vitest";
import { alertOf, isPage, isRepaired, maxAgeSeconds, meaningOf, secondsOf, told } from "../../config/checks.ts";
import { type Check, checks, oldestItemMetric } from "../../lib/checks.ts";
import { sampleTimestampMetric } from "../../lib/sample.ts";
import { needs } from "../helpers/needs.ts";
import {
  type AlertRule,
  isAlert,
  shippedGroups,
  type Text,
  type UnitTest,
  unitTest,
  unitTestsIn,
} from "../helpers/rules.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const unitTestFiles = ["alerts", "alerts-texts", "alerts-day", "alerts-evidence", "alerts-blind"];
const groups = await shippedGroups();
const alerts = groups.flatMap(({ rules }) => rules.filter(isAlert));

describe("every alert fires when it should, not a minute earlier, and says what it should", () => {
  const timeout = 900_000; // Seconds each, and longer on a machine that is busy.
  let tests: UnitTest[];
  beforeAll(async () => {
    const read = (name: string) => readFile(`test/alerts/${name}.yml`, "utf8");
    const texts = await Promise.all(unitTestFiles.map(read));
    tests = [...texts.flatMap(unitTestsIn), ...testsOfChecks(await read("alerts-of-a-check"))];
  });

  const areWeeks = ({ group }: UnitTest) => group === "veza-ledger-blind";
  const engines: [engine: string, tool: "promtool" | "vmalert-tool", isPlayed: (test: UnitTest) => boolean][] = [
    ["Prometheus, over weeks", "promtool", areWeeks],
    ["Prometheus", "promtool", (test) => !areWeeks(test)],
    ["VictoriaMetrics", "vmalert-tool", () => true],
  ];
  // vmalert-tool takes a minute of CPU time: CI has it.
  const played = engines.filter(([, tool]) => tool === "promtool" || process.env.CI);
  it.concurrent.for(played)("by the tool of %s", { timeout }, async ([, tool, isPlayed]) => {
    const folder = await newFolder();
    const files = await writeTests(folder, tests.filter(isPlayed), tool);
    const output = await unitTest(tool, folder, files);
    if (/FAILED/.test(output)) {
      const isSaid = (line: string) => line.trim() && !/^Unit Testing|SUCCESS|Annotations:\{\}/.test(line);
      expect.fail(output.split("\n").filter(isSaid).slice(0, 25).join("\n"));
    }
    expect(output.match(/SUCCESS/g), output).toHaveLength(files.length);
  });

  it("in each of the situations that a rule has to stand, and with its text", () => {
    /** The names of these alerts, without the alerts that such tests ask about. */
    const without = (of: AlertRule[], isSuch: (test: UnitTest) => boolean) => {
      const inTests = new Set(tests.filter(isSuch).flatMap(asked));
      return of.map(({ alert }) => alert).filter((name) => !inTests.has(name));
    };
    const hasBlanks = alerts.filter(({ annotations }) => annotations.summary?.includes("{{"));
    expect(without(hasBlanks, (test) => partsRead(test).length > 0)).toEqual([]);
    // alerts-evidence.yml and alerts-blind.yml have a history for each situation of their alerts.
    const others = groups.filter(({ name }) => !/-(evidence|blind)$/.test(name)).flatMap(({ rules }) => rules);
    const isAbout = (situation: string) => (test: UnitTest) => new RegExp(`\\[.*\\b${situation}\\b`).test(test.name);
    for (const situation of ["fires", "two stages", "vanished", "restart", "first", "wiped", "nothing"]) {
      expect(without(others.filter(isAlert), isAbout(situation)), situation).toEqual([]);
    }
    const ofChecks = others.filter(isAlert).filter(({ alert }) => !/Sampler|Reconciler|Another/.test(alert));
    expect(without(ofChecks, isAbout("unknown"))).toEqual([]);
  });
});

/** The alerts that a test asks about. */
const asked = ({ alert_rule_test }: UnitTest) => [...new Set(alert_rule_test.map(({ alertname }) => alertname))].sort();

/**
 * Writes these tests into this folder: tests about the same alerts into one file, next to the rules of these alerts
 * alone. A tool evaluates all rules that it is given, which would take six times as long. Resolves to the files' names.
 */
async function writeTests(folder: string, all: UnitTest[], tool: "promtool" | "vmalert-tool"): Promise<string[]> {
  const alike = Object.groupBy(all, (test) =>
    [test.group, test.evaluation_interval, test.records, isShort(test), ...partsRead(test), ...asked(test)].join(),
  );
  return Promise.all(
    Object.values(alike).map(async (same = [], index) => {
      const [first] = same as [UnitTest];
      const rulesName = `${index}-rules.yml`;
      await writeFile(path.join(folder, rulesName), rulesFor(first));
      const tests = same.map(({ group: _, evaluation_interval: __, records: ___, promql_expr_test, ...test }) => ({
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

/** The parts of texts that a test compares. */
function partsRead({ alert_rule_test }: UnitTest): (keyof Text)[] {
  const texts = alert_rule_test.flatMap(({ exp_alerts }) =>
    exp_alerts.map(({ exp_annotations = {} }) => exp_annotations),
  );
  return (["summary", "description"] as const).filter((part) => texts.some((text) => part in text));
}

/** Whether a test ends within 4 hours. Nothing is older than that in it, and looking for it costs most of the time. */
const isShort = ({ alert_rule_test }: UnitTest) =>
  alert_rule_test.every(({ eval_time }) => Number.parseInt(eval_time, 10) < 4 * 60);

/** The shipped rules of a test's alerts, with the parts of their texts that it reads, and all rules that record. */
function rulesFor(test: UnitTest): string {
  const { group, records } = test;
  const names = asked(test);
  const isRecorded = ({ expr }: { expr: string }) =>
    !records || [...expr.matchAll(/veza_ledger:([\w:]+)/g)].every(([, name = ""]) => records.includes(name));
  // A backlog grows while the alert of its check fires.
  const loaded = names.includes("VezaLedgerBacklogGrowing") ? [...names, ...checks.map(alertOf)] : names;
  const isChosen = (rule: object) =>
    isAlert(rule)
      ? loaded.includes(rule.alert) && isRecorded(rule)
      : !records || records.some((name) => "record" in rule && rule.record === `veza_ledger:${name}`);
  /** Of the group about blind checks, the alerts about money need one record. */
  const isLoaded = (of: string) => (of === "veza-ledger-blind" && !group ? isOfLateRepairs : isChosen);
  const isOfLateRepairs = (rule: object) =>
    "record" in rule && String(rule.record).startsWith("veza_ledger:check_late:");
  const chosen = groups
    .filter(({ name, rules }) =>
      group ? name === group : rules.some((rule) => (isAlert(rule) && isChosen(rule)) || isOfLateRepairs(rule)),
    )
    .map(({ rules, ...rest }) => ({
      ...rest,
      rules: rules.filter(isLoaded(rest.name)).map((rule) => {
        // A tool evaluates every group at the interval of the test.
        if (isOfLateRepairs(rule)) return { ...rule, expr: `(${rule.expr}) and on () minute() % 5 == 0` };
        if (!isAlert(rule)) return rule;
        const annotations = Object.fromEntries(partsRead(test).map((part) => [part, rule.annotations[part]]));
        return { ...rule, annotations };
      }),
    }));
  const text = dump({ groups: chosen }, { noRefs: true });
  return isShort(test) ? text.replaceAll(/\[1d:(30s|1m)\]/g, "[4h:$1]") : text;
}

/** The tests of alerts-of-a-check.yml, each for all checks at once: a tool evaluates all rules in any case. */
function testsOfChecks(template: string): UnitTest[] {
  const perCheck = checks.map((check) => {
    const { severity, noun, lost, patience } = told[check.id];
    const minutes = Number.parseInt(patience, 10);
    const words = {
      METRIC: check.metric,
      ALERT: alertOf(check),
      CHECK: check.id,
      SEVERITY: severity,
      NOUN: noun,
      MEANS: meaningOf(check),
      LOST: lost,
      PHASE: check.id,
      NOBODY: isRepaired(check) ? "" : " The reconciler does not repair them.",
    };
    const text = template
      .replaceAll(/LATE\((\w+)\)/g, isRepaired(check) ? ", and $1 repaired late in the last hour" : "")
      .replaceAll(/MINUTES([+-]\d+)/g, (_, more) => String(minutes + Number(more)))
      .replaceAll(/COUNTED\((\d+)\)/g, (_, minute) => String(waitsSince(check, Number(minute))))
      .replaceAll(/BUSY\((\d+), (\d+)\)/g, (_, from, to) => busy(check, Number(from), Number(to)))
      .replaceAll(new RegExp(Object.keys(words).join("|"), "g"), (word) => words[word as keyof typeof words]);
    return unitTestsIn(text).map((test) => ofCheck(check, withAnswers(check, test)));
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

/**
 * The test with what the sampler exports next to a count, where the test says nothing of it. That is the tick's time,
 * and that there is no oldest row when the count is 0. Where rows count, the time of the oldest is unknown.
 */
function withAnswers(check: Check, test: UnitTest): UnitTest {
  const isGiven = (name: RegExp) => test.input_series.some(({ series }) => name.test(series));
  const answers = test.input_series
    .filter(({ series }) => series.startsWith(check.metric))
    .flatMap(({ series, values }) => {
      const of = (name: string) => series.replace(check.metric, name).replace("}", `, check="${check.id}"}`);
      const each = (value: (count: string) => string) =>
        values.replaceAll(/(?<=^| )(-?\d+)(?:x(\d+))?(?= |$)/g, (_, count: string, times = "0") => {
          return value(count) === "stale" ? `stale _x${times}` : `${value(count)}x${times}`;
        });
      return [
        ...(isGiven(/sample_timestamp/)
          ? []
          : [{ series: series.replace(check.metric, sampleTimestampMetric), values: each(() => "1") }]),
        ...(isGiven(/oldest/)
          ? []
          : [{ series: of(oldestItemMetric), values: each((count) => (count === "0" ? "0" : "stale")) }]),
      ];
    });
  return { ...test, input_series: [...test.input_series, ...answers] };
}

/** The Unix time of a row that has counted for a second in this minute. */
const waitsSince = ({ staleAfter }: Check, minute: number) => minute * 60 - secondsOf(staleAfter ?? "0 minutes") - 1;

/** The oldest of rows that come every 2 minutes and count for 3, in the minutes from `from` to `to`. */
function busy(check: Check, from: number, to: number): string {
  const oldest = Array.from({ length: to - from }, (_, index) => Math.floor((from + index - 1) / 2) * 2);
  return oldest.map((minute) => waitsSince(check, minute)).join(" ");
}

/** What a test of all checks is for this check. */
function ofCheck(check: Check, test: UnitTest): UnitTest {
  // Without a threshold, a row of any age counts.
  if (test.name.includes("[age") && !check.staleAfter) return { ...test, input_series: [], alert_rule_test: [] };
  // The texts about orphans are in alerts-texts.yml, since their alert tells of failed orphans, too.
  if (test.name.startsWith("its text") && check.id === "orphan_refunds")
    return { ...test, input_series: [], alert_rule_test: [] };
  // Nobody is woken for an old row who was woken for the row already.
  const isAsked = ({ alertname }: { alertname: string }) => alertname !== "VezaLedgerRowsTooOld" || !isPage(check);
  const alert_rule_test = test.alert_rule_test.map((look) => (isAsked(look) ? look : { ...look, exp_alerts: [] }));
  return { ...test, alert_rule_test };
}

it("the two required pages wait for as long as agreed", () => {
  const ages = Object.fromEntries(checks.map((check) => [check.id, maxAgeSeconds(check)]));
  expect(ages).toMatchObject({ stuck_orders: (30 + 10) * 60, orphan_refunds: (5 + 5) * 60 });
});

it("every alert has links to the dashboard and to its own page of the runbook", () => {
  for (const { alert, annotations } of alerts) {
    expect(annotations.dashboard_url).toMatch(/^https:\/\/[^/]+\/d\/veza-ledger/);
    expect(annotations.runbook_url).toMatch(new RegExp(`^https://.+/docs/runbook/${alert}\\.md$`));
  }
});

it("the command of docs/deploy.md leaves no address to replace in any file", await needs("bash", "perl"), async () => {
  const folder = await newFolder();
  for (const part of ["config", "docs"]) await cp(part, path.join(folder, part), { recursive: true });
  const [, command = ""] = /```sh\n(perl [\s\S]*?)```/.exec(await readFile("docs/deploy.md", "utf8")) ?? [];
  await promisify(execFile)("bash", ["-euo", "pipefail", "-c", command], { cwd: folder });

  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    expect(await readFile(file, "utf8"), file).not.toMatch(/https:\/\/(repository|grafana)\.example/);
  }
});
