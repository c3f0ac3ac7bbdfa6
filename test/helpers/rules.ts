import { readFile } from "node:fs/promises";
import { load } from "js-yaml";

export const rulesFile = "config/alertmanager/ledger.yml";

/** A rule that makes an alert. Rules that record have only an expression in common with it. */
export interface AlertRule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: Record<"summary" | "description" | "dashboard_url" | "runbook_url", string>;
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

/**
 * Rules or a route (YAML) with all times shorter: a minute takes `minuteMs`, a day has `dayMinutes` of these, and a
 * sampler is silent after `silentMinutes`.
 */
export function faster(yaml: string, minuteMs: number, dayMinutes: number, silentMinutes: number): string {
  const unitMinutes: Record<string, number> = { s: 1 / 60, m: 1, h: 60, d: dayMinutes };
  const short = (duration: string) =>
    duration.replaceAll(/(\d+)([smhd])/g, (_, value: string, unit: string) => {
      const minutes = duration === "23h" ? (dayMinutes * 23) / 24 : Number(value) * (unitMinutes[unit] ?? 0);
      return `${Math.round(minutes * minuteMs)}ms`;
    });
  const seconds = (minutes: number) => String((minutes * minuteMs) / 1000);
  return yaml
    .replaceAll(
      /(\[|offset |for: |interval: |_wait: )(\d+[smhd])\b/g,
      (_, before, duration) => before + short(duration),
    )
    .replaceAll(/:(\d+[smhd])\]/g, (_, step) => `:${short(step)}]`)
    .replaceAll("2 * 300", `2 * ${seconds(5)}`)
    .replaceAll(/([<>]) 180/g, `$1 ${seconds(silentMinutes)}`)
    .replaceAll("> 86400", `> ${seconds(dayMinutes)}`);
}
