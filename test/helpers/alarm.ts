/** What a metric has in each period, the latest last; undefined where it has nothing. */
export type Series = (number | undefined)[];

export type AlarmState = "OK" | "ALARM" | "INSUFFICIENT_DATA";

/** Properties of AWS::CloudWatch::Alarm, as far as this project's alarms have them. */
export interface Alarm {
  MetricName?: string;
  Namespace?: string;
  Dimensions?: { Name: string; Value: { Ref: string } }[];
  Metrics?: { Id: string; ReturnData: boolean; Expression?: string; MetricStat?: { Metric: Alarm } }[];
  EvaluationPeriods: number;
  DatapointsToAlarm?: number;
  Threshold: number;
  ComparisonOperator: string;
  TreatMissingData: string;
}

/** The metric that an alarm looks at. */
export const metricOf = (alarm: Alarm): Alarm =>
  alarm.Metrics?.find(({ MetricStat }) => MetricStat)?.MetricStat?.Metric ?? alarm;

/**
 * The state of an alarm after the last of these periods. After each period, it counts the latest periods that breach:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html. Of metric math it knows FILL
 * with a number, RUNNING_SUM, and IF without an else, and throws at the rest. Left out: earlier periods, which
 * CloudWatch looks at where some of the evaluated periods are missing.
 */
export function stateOf(alarm: Alarm, series: Series): AlarmState {
  let state: AlarmState = "INSUFFICIENT_DATA";
  for (let end = 1; end <= series.length; end += 1) state = evaluate(alarm, series.slice(0, end), state);
  return state;
}

function evaluate(alarm: Alarm, series: Series, before: AlarmState): AlarmState {
  const count = alarm.EvaluationPeriods;
  const missing = Array<undefined>(Math.max(0, count - series.length)).fill(undefined);
  const latest = calculate(alarm, [...missing, ...series.slice(-count)]);
  const breaches = {
    LessThanThreshold: (value: number) => value < alarm.Threshold,
    GreaterThanOrEqualToThreshold: (value: number) => value >= alarm.Threshold,
  }[alarm.ComparisonOperator];
  if (!breaches) throw new Error(`cannot compare by ${alarm.ComparisonOperator}`);
  const enough = alarm.DatapointsToAlarm ?? count;
  const breaching = latest.filter((value) => value !== undefined && breaches(value)).length;
  const possible = latest.filter((value) => value === undefined || breaches(value)).length;
  if (breaching >= enough) return "ALARM";
  if (possible < enough) return "OK";
  const treated = { ignore: before, notBreaching: "OK", breaching: "ALARM" } as Record<string, AlarmState>;
  const treatment = treated[alarm.TreatMissingData];
  if (!treatment) throw new Error(`cannot treat missing data as ${alarm.TreatMissingData}`);
  return treatment;
}

/** The series that an alarm compares. */
function calculate({ Metrics }: Alarm, series: Series): Series {
  if (!Metrics) return series;
  const known: Record<string, Series> = {};
  for (const { Id, Expression, MetricStat } of Metrics)
    known[Id] = MetricStat ? series : express(Expression ?? "", known);
  return known[Metrics.find(({ ReturnData }) => ReturnData)?.Id ?? ""] ?? [];
}

function express(expression: string, known: Record<string, Series>): Series {
  const [, name, id = "", other] = /^(FILL|RUNNING_SUM|IF)\((\w+)(?: > 0)?(?:, (\w+))?\)$/.exec(expression) ?? [];
  const series = known[id];
  if (!series) throw new Error(`cannot calculate ${expression}`);
  if (name === "FILL") return series.map((value) => value ?? Number(other));
  if (name === "IF") return series.map((value, index) => ((value ?? 0) > 0 ? known[other ?? ""]?.[index] : undefined));
  let sum = 0;
  return series.map((value) => {
    sum += value ?? 0;
    return sum;
  });
}
