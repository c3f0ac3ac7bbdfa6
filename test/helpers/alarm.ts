/** What a metric has in each period, the latest last; undefined where it has nothing. */
export type Series = (number | undefined)[];

/** Properties of AWS::CloudWatch::Alarm, as far as this project's alarms have them. */
export interface Alarm {
  MetricName: string;
  Namespace: string;
  Dimensions?: { Name: string; Value: { Ref: string } }[];
  EvaluationPeriods: number;
  DatapointsToAlarm?: number;
  Threshold: number;
  ComparisonOperator: string;
  TreatMissingData: string;
}

/** How many periods CloudWatch looks at beyond the evaluated periods. AWS gives no number, and it may vary. */
export const extraPeriods = [0, 3, 10];

/**
 * The state of an alarm after the last of these periods, when CloudWatch looks at `extra` periods more. Missing data
 * stands in only where too few periods have data:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html. Left out: a state
 * without enough data, and the rule against premature alarms.
 */
export function stateOf(alarm: Alarm, series: Series, extra: number): "OK" | "ALARM" {
  const breaches = {
    LessThanThreshold: (value: number) => value < alarm.Threshold,
    GreaterThanOrEqualToThreshold: (value: number) => value >= alarm.Threshold,
  }[alarm.ComparisonOperator];
  if (!breaches) throw new Error(`cannot compare by ${alarm.ComparisonOperator}`);
  const missingBreaches = { notBreaching: false, breaching: true }[alarm.TreatMissingData];
  if (missingBreaches === undefined) throw new Error(`cannot treat missing data as ${alarm.TreatMissingData}`);
  const count = alarm.EvaluationPeriods;
  const known = series.slice(-count - extra).filter((value) => value !== undefined);
  const evaluated = known.slice(-count).map(breaches);
  while (evaluated.length < count) evaluated.push(missingBreaches);
  return evaluated.filter(Boolean).length >= (alarm.DatapointsToAlarm ?? count) ? "ALARM" : "OK";
}
