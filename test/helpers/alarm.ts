/** Properties of AWS::CloudWatch::Alarm, as far as this project's alarms have them. */
export interface Alarm {
  MetricName: string;
  Namespace: string;
  Dimensions?: { Name: string; Value: { Ref: string } }[];
  EvaluationPeriods: number;
  DatapointsToAlarm?: number;
  Threshold: number;
  ComparisonOperator: "LessThanThreshold" | "GreaterThanOrEqualToThreshold";
  TreatMissingData: "notBreaching" | "breaching";
}

/**
 * The state of an alarm after these periods, the latest last, with undefined for a period without data. Missing data
 * stands in only where too few periods have data:
 * https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html. CloudWatch also looks at
 * periods before the evaluated periods. AWS does not say at how many, and with some numbers the state may be either.
 * Left out: a state without enough data, and the rule against premature alarms.
 */
export function stateOf(alarm: Alarm, series: (number | undefined)[]): "OK" | "ALARM" | "either" {
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
