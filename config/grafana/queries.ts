import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { blindnessMetric } from "../../lib/counts/blindness.ts";
import type { Check } from "../../lib/counts/checks.ts";
import { checkSuccessMetric, oldestItemMetric, openAgeMetric, overdueMetric } from "../../lib/counts/counting.ts";
import { outboxMetric } from "../../lib/counts/outbox.ts";
import { infoMetric, otherSamplerMetric, sampleTimestampMetric } from "../../lib/counts/sample.ts";
import { ledgerJob, reconcilerJob } from "../../lib/gateway/pushgateway.ts";
import { reconcilerMetric } from "../../lib/totals/events.ts";
import { ofStage, silentAfterSeconds } from "./dashboard.ts";

// The queries of the panels, in PromQL. One series per stage everywhere, so that no stage hides another.

/** By stage, the Unix time of the last tick within a day: the series of a silent gateway may have ended. */
export const lastTick = `max by (stage) (last_over_time(${sampleTimestampMetric}{${ofStage}}[1d]))`;
/** Has a value for each stage whose sampler ticks. */
export const fresh = `(time() - ${lastTick} <= ${silentAfterSeconds})`;
/** By stage, the Unix time at which the last sweep ended; 0 for never. */
export const lastRun = `max by (stage) (last_over_time(${reconcilerMetric.lastRun}{${ofStage}}[1d]))`;
/** The same by stage and phase; 0 for a phase that no sweep has named. */
export const phaseLastRun = `max by (stage, phase) (last_over_time(${reconcilerMetric.phaseLastRun}{${ofStage}}[1d]))`;
/**
 * Selects series of our alerts, of the selected stages and of none. `matchers` start with a comma. VezaLedgerAlive, of
 * severity none, says nothing to people.
 */
const alerts = (metric: string, matchers: string) =>
  `${metric}{alertname=~"VezaLedger.+", severity!="none", stage=~"$stage|"${matchers}}`;
/** Selects the alerts that fire. `matchers` start with a comma. */
const firing = (matchers = "") => alerts("ALERTS", `, alertstate="firing"${matchers}`);
/** The pages that fire, for the marks over the charts. */
export const pages = (offset = "") => `max by (alertname, check, stage) (${firing(', severity="page"')}${offset})`;
/**
 * One row for each alert that fires, with the seconds for which its condition has held. The longest comes first. It is
 * -1 where the rule engine does not say, as an older vmalert about a rule without `for:`.
 */
export const firingAlerts =
  `sort_desc(max by (severity, alertname, check, reason, stage) (time() - ${alerts("ALERTS_FOR_STATE", "")}` +
  ` and ignoring (alertstate) ${firing()} or ${firing()} * 0 - 1))`;
/** By check and stage, in percent: the share of an hour's rows that waited so long that webhooks may be lost. */
export const waitedLong =
  `100 * max by (check, stage) (veza_ledger:nearly_stuck:rows_1h{${ofStage}})` +
  ` / (max by (check, stage) (veza_ledger:nearly_stuck:inserts_1h{${ofStage}}) * 12 / 11 > 0)`;
/** By check and stage, in percent: the share that is usual. */
export const usualShare = `100 * max by (check, stage) (last_over_time(veza_ledger:usual:share{${ofStage}}[1h]))`;
/** Selects the pushes of the sampler and of the reconciler's totals. */
export const ofBothJobs = `job=~"${ledgerJob}|${reconcilerJob}", ${ofStage}`;
/** 1 for each check that has a count, and 0 for each that has none. */
export const successes = `${checkSuccessMetric}{${ofStage}}`;
const knownWithinADay = `count by (stage) (max_over_time(${successes}[1d]))`;
const countedNow = `(sum by (stage) (${successes}) and on (stage) ${fresh})`;
/** By stage, how many checks that had a count within a day have none now. */
export const unknownChecks = `${knownWithinADay} - (${countedNow} or ${knownWithinADay} * 0)`;

/**
 * The values of `known`, and -1 for every other stage that `series` had within a day. Without any stage it is one -1,
 * so that a tile whose series are gone is never grey.
 *
 * The stages keep one order whatever is known. An aggregation returns its groups in the order in which they first
 * appear, so the -1 of all stages comes first. The extra label keeps each -1 apart from the known value, which is
 * higher.
 */
export const orUnknown = (known: string, series: string, by = "stage") =>
  `max by (${by}) (label_replace(max_over_time(${series}[1d]) * 0 - 1, "is", "unknown", "", "") or ${known}` +
  ` or -1 * absent_over_time(${series}[1d]))`;
/** Draws a gap while the sampler is silent, and not the gateway's last value. */
export const whileTicking = (expr: string) => `(${expr}) and on (stage) ${fresh}`;
/** A check's count while the sampler ticks. */
export const freshCount = ({ metric }: Check) => `max by (stage) (${metric}{${ofStage}}) and on (stage) ${fresh}`;
/** A check's count where rows count and none of them is overdue, as where somebody has accepted them all. */
export const calmCount = (check: Check) =>
  `(${freshCount(check)}) > 0 and on (stage) max by (stage) (${overdueMetric}{check="${check.id}", ${ofStage}}) == 0`;
const orphansFailed = "veza_reconciler:orphans_failed:rows_1h";
/**
 * By stage, how many orphan refunds the reconciler marked as failed in an hour, if any. No count has them, and their
 * page holds for 15 minutes longer.
 */
export const failedOrphans = `max by (stage) (max_over_time(${orphansFailed}{${ofStage}}[15m])) > 0`;
/** Seconds since a Unix time, at least 1: 0 means "never", as in the metrics. */
export const secondsSince = (time: string) => `clamp_min(time() - (${time} > 0), 1)`;
/** How much a counter rose in the hour before each point. */
export const hourly = (metric: string, by: string) => `sum by (${by}) (increase(${metric}{${ofStage}}[1h]))`;
/**
 * How many rows came in within an hour. No value where the total fell: increase(), good for a first hour, counts all
 * that a dropped partition has left.
 */
export const insertedInAnHour = (series: string) =>
  `sum by (table, stage) (${series} - ${series} offset 1h >= 0 or increase(${series}[1h]) unless ${series} offset 1h)`;
/** How long the sweeps of an hour took: at most this many seconds for a share `q` of them. */
export const quantile = (q: number) =>
  `histogram_quantile(${q}, sum by (le, stage) (rate(${reconcilerMetric.sweepDuration}_bucket{${ofStage}}[1h])))`;

/** A range query, for panels over time. The legend is a template such as `p50 {{stage}}`. */
export const range = (expr: string, legend: string) => new DataqueryBuilder().expr(expr).legendFormat(legend).range();
/** An instant query: the last value of a range query may be hours old when the series has ended. */
export const instant = (expr: string, legend: string) =>
  new DataqueryBuilder().expr(expr).legendFormat(legend).instant();

/** Where the tick does not know it, the age of the oldest row that was last counted keeps growing. */
export const oldestAge =
  `max by (check, stage) (${openAgeMetric}{${ofStage}} and on (stage) ${fresh}` +
  ` or ${secondsSince(`last_over_time(${oldestItemMetric}{${ofStage}}[1d])`)})`;

/** By stage, the Unix time since when the oldest delivery in the outbox waits. */
export const outboxOldest = `max by (stage) (${outboxMetric.oldest}{${ofStage}})`;

/**
 * 1 where the rules know how often rows come in and the evidence is there, 2 where the alert fires, else 0.
 */
export const watched =
  `max by (check, stage) ((last_over_time(veza_ledger:check_inserted:rows_per_watched_5m{${ofStage}}[15m]) > bool 0` +
  ` and ${blindnessMetric.evidenceSuccess}{${ofStage}} == 1 or ${blindnessMetric.evidenceSuccess}{${ofStage}} * 0)` +
  ` and on (stage) ${fresh}` +
  ` or ${firing(', alertname="VezaLedgerCheckBlind", check!=""')} * 2)`;
/**
 * When the last tick of each sampler started. In steps of 15 s: one of two samplers may be seen for seconds only. One
 * that is never seen is known from the ticks of the other, without its version.
 */
export const lastTickOfEach =
  `(max by (stage, database, region, version) (max_over_time((${infoMetric}{${ofStage}}` +
  ` * on (stage) group_left () max by (stage) (${sampleTimestampMetric}{${ofStage}}))[1h:15s]))` +
  ` or on (stage, database, region)` +
  ` max by (stage, database, region) (max_over_time(${otherSamplerMetric}{${ofStage}}[1h])))`;
