import type { FunctionName } from "../../lib/settings/settings.ts";
import type { Resources } from "./packages.ts";
import { ofType } from "./resources.ts";

/** Properties of AWS::CloudWatch::Alarm, as far as this project's alarms have them. */
export interface Alarm {
  MetricName: string;
  Namespace: string;
  Dimensions?: { Name: string; Value: { Ref: string } }[];
  Statistic: "Sum" | "Minimum";
  /** In seconds. */
  Period: number;
  EvaluationPeriods: number;
  DatapointsToAlarm?: number;
  Threshold: number;
  ComparisonOperator: "LessThanThreshold" | "GreaterThanOrEqualToThreshold";
  TreatMissingData: "notBreaching" | "breaching";
}

export const alarmIn = (resources: Resources, name: string) =>
  resources[`${name}Alarm`]?.Properties as unknown as Alarm;

/** A value of a metric, or a line of a function's log. */
interface Value {
  atMs: number;
  value: number;
}
export interface LogLine {
  atMs: number;
  by: FunctionName;
  text: string;
}

interface MetricFilter {
  FilterPattern: string;
  LogGroupName: { Ref: string };
  MetricTransformations: { MetricNamespace: string; MetricName: string; MetricValue: string }[];
}
const logGroups: Record<string, FunctionName> = { SamplerLogGroup: "sampler", ReceiverLogGroup: "receiver" };

/** What the template's filters make of these lines for the metric that an alarm looks at: all values, in no order. */
export function valuesOf(resources: Resources, { Namespace, MetricName }: Alarm, lines: LogLine[]): Value[] {
  return (ofType(resources, "AWS::Logs::MetricFilter") as unknown as MetricFilter[]).flatMap((filter) => {
    const [{ MetricValue, ...metric } = { MetricValue: "" }, ...others] = filter.MetricTransformations;
    if (others.length > 0) throw new Error("a filter with several metrics");
    if (JSON.stringify(metric) !== JSON.stringify({ MetricNamespace: Namespace, MetricName })) return [];
    const matching = lines.filter(
      ({ by, text }) => by === logGroups[filter.LogGroupName.Ref] && matchesFilter(filter.FilterPattern, text),
    );
    return matching.map(({ atMs }) => ({ atMs, value: Number(MetricValue) }));
  });
}

/** The datapoint of a period with these values; undefined without any. */
export function datapointOf({ Statistic }: Alarm, values: Value[]): number | undefined {
  if (values.length === 0) return undefined;
  const numbers = values.map(({ value }) => value);
  return Statistic === "Minimum" ? Math.min(...numbers) : numbers.reduce((sum, value) => sum + value);
}

type State = "OK" | "ALARM" | "either";

/**
 * The state of an alarm after these periods, the latest last, with undefined for a period without data. Missing data
 * stands in only where too few periods have data:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html. CloudWatch also looks at
 * periods before the evaluated periods. AWS does not say at how many, and with some numbers the state may be either.
 * Left out: a state without enough data, and the rule against premature alarms.
 */
export function alarmState(alarm: Alarm, series: (number | undefined)[]): State {
  const { EvaluationPeriods: count, DatapointsToAlarm = count, Threshold } = alarm;
  const breaches = {
    LessThanThreshold: (value: number) => value < Threshold,
    GreaterThanOrEqualToThreshold: (value: number) => value >= Threshold,
  }[alarm.ComparisonOperator];
  const missingBreaches = { notBreaching: false, breaching: true }[alarm.TreatMissingData];
  const states = [0, 3, 10].map((extra) => {
    const known = series.slice(-count - extra).filter((value) => value !== undefined);
    const evaluated = known.slice(-count).map(breaches);
    while (evaluated.length < count) evaluated.push(missingBreaches);
    return evaluated.filter(Boolean).length >= DatapointsToAlarm ? "ALARM" : "OK";
  });
  const [first = "either", ...others] = states;
  return others.every((state) => state === first) ? first : "either";
}

/**
 * The states of an alarm at each full minute from one time to another, with values that arrive `delayMs` late. An alarm
 * is evaluated every minute, over periods that end then:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html.
 */
export function alarmStates(alarm: Alarm, values: Value[], fromMs: number, toMs: number, delayMs: number): State[] {
  const periodMs = alarm.Period * 1000;
  const states: State[] = [];
  const count = alarm.EvaluationPeriods + 10;
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 60_000) {
    const seen = values.filter(({ atMs }) => atMs >= nowMs - count * periodMs && atMs + delayMs < nowMs);
    const series = Array.from({ length: count }, (_, index) => {
      const endMs = nowMs - index * periodMs;
      const inPeriod = seen.filter(({ atMs }) => atMs >= endMs - periodMs && atMs < endMs);
      return datapointOf(alarm, inPeriod);
    });
    states.push(alarmState(alarm, series.reverse()));
  }
  return states;
}

/**
 * Whether a line of a log matches a JSON filter pattern, as CloudWatch Logs would say:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-json-log-events.html. A pattern compares
 * fields with a text, which may end in `*`, or with a number, and joins such terms by `||`. Throws at the rest of what
 * CloudWatch Logs would take.
 */
function matchesFilter(pattern: string, line: string): boolean {
  const [, terms] = /^\{ (.+) \}$/.exec(pattern.trim()) ?? [];
  if (!terms || pattern.length > 1024) throw new Error(`cannot read ${pattern}`);
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return false;
  }
  return terms.split(/ \|\| (?=\(\$)/).some((term) => matchesTerm(term.replace(/^\((.+)\)$/, "$1"), value));
}

function matchesTerm(term: string, line: unknown): boolean {
  const [, selector = "", operator, wanted = ""] = /^\$((?:\.\w+)+) ([=<>]) ("[^"*]*\*?"|\d+)$/.exec(term) ?? [];
  if (!operator) throw new Error(`cannot read ${term}`);
  let value = line;
  for (const key of selector.split(".").slice(1)) value = Object(value)[key];
  if (wanted.startsWith('"')) {
    if (operator !== "=") throw new Error(`cannot compare a text by ${operator}`);
    const text = wanted.slice(1, -1);
    return text.endsWith("*") ? typeof value === "string" && value.startsWith(text.slice(0, -1)) : value === text;
  }
  if (typeof value !== "number") return false;
  return { "=": value === Number(wanted), "<": value < Number(wanted), ">": value > Number(wanted) }[
    operator
  ] as boolean;
}
