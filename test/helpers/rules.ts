import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { type Place, withTimes } from "../../local/rule-times.ts";

const rulesPath = "config/alertmanager/ledger.yml";

/** A rule that makes an alert. Rules that record have only an expression in common with it. */
export interface AlertRule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: Record<"summary" | "description" | "dashboard_url" | "runbook_url", string>;
}

/** A rule that makes an alert, or one that records. */
type Rule = Pick<AlertRule, "expr"> & { record?: string };

/** The groups of the shipped rules. */
export async function shippedGroups(): Promise<{ name: string; rules: Rule[] }[]> {
  return (load(await readFile(rulesPath, "utf8")) as { groups: { name: string; rules: AlertRule[] }[] }).groups;
}

export const isAlert = (rule: object): rule is AlertRule => "alert" in rule;

/** The shipped rules that make alerts. */
export const shippedAlerts = async (): Promise<AlertRule[]> =>
  (await shippedGroups()).flatMap(({ rules }) => rules.filter(isAlert));

/**
 * The shipped rules in a hurry, for a test on a real engine. An alert has to hold for a second, and what stays open for
 * days does so. A sampler is silent after 4 seconds, and an hour of failed orphans is 15 seconds. The last known value is
 * looked for in ten minutes.
 */
export async function hurriedRules(): Promise<string> {
  const hurried: Record<Place, (seconds: number) => number> = {
    for: (seconds) => (seconds < 86_400 ? 1 : seconds),
    interval: () => 1,
    range: (seconds) => (seconds <= 300 ? seconds / 60 : seconds),
    subquery: () => 600,
    step: () => 1,
    offset: (seconds) => (seconds === 3_600 ? 15 : seconds),
    number: (seconds) => (seconds === 180 ? 4 : seconds),
  };
  return withTimes(await readFile(rulesPath, "utf8"), (seconds, place) => hurried[place](seconds));
}
