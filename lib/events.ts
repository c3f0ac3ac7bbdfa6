import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from "prom-client";
import * as v from "valibot";
import { Refusal } from "./refusal.ts";

/** One exposed series of the reconciler metrics, as it is stored in `ledger_metrics.totals`. */
export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export const reconcilerMetric = {
  actions: "veza_reconciler_actions_total",
  orphanRefunds: "veza_reconciler_orphan_refunds_total",
  sweepDuration: "veza_reconciler_sweep_duration_seconds",
  /** The latest of all values; every other series is the sum of them. */
  lastRun: "veza_reconciler_last_run_timestamp",
} as const;

export const maxEvents = 1_000;
export const phases = ["stuck_orders", "stuck_refunds", "orphan_refunds"] as const;
const maxAheadMs = 5 * 60_000;
const maxSweepSeconds = 86_400;

const timestamp = v.pipe(
  v.string("must be a string such as 2026-01-31T12:00:00Z"),
  v.isoTimestamp("must be an ISO 8601 date and time with a time zone, such as 2026-01-31T12:00:00Z"),
  v.check((text) => new Date(text.slice(0, 10)).toJSON()?.startsWith(text.slice(0, 10)), "must be a day that exists"),
  v.transform((text) => Date.parse(text)),
  v.check((ms) => ms >= 0, "must be from 1970 on, with the time zone as Z or +hh:mm"),
  v.check((ms) => ms <= Date.now() + maxAheadMs, "must not be more than 5 minutes ahead"),
);

/** One event, as a caller writes it. */
export const eventSchema = v.variant(
  "type",
  [
    v.object({
      type: v.literal("reconciler.action"),
      timestamp,
      data: v.object({ phase: v.picklist(phases, `must be one of ${phases.join(", ")}`) }, "must be an object"),
    }),
    v.object({ type: v.literal("reconciler.orphan_refund"), timestamp }),
    v.object({
      type: v.literal("reconciler.sweep"),
      timestamp,
      data: v.object(
        {
          duration_seconds: v.pipe(
            v.number("must be a number"),
            v.minValue(0, "must not be negative"),
            v.maxValue(maxSweepSeconds, `must not be over ${maxSweepSeconds} (one day); is it in seconds?`),
          ),
        },
        "must be an object",
      ),
    }),
  ],
  "must be one of reconciler.action, reconciler.orphan_refund, reconciler.sweep",
);

export type ReconcilerEvent = v.InferOutput<typeof eventSchema>;

/**
 * Reads one event, or an array of up to 1,000: all of them, or none. An empty one counts nothing. Fields that are not described are ignored.
 * Throws a Refusal: 400 with the first field that is wrong, or 413.
 */
export function parseEvents(body: string): ReconcilerEvent[] {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new Refusal(400, "the body is not JSON");
  }
  if (Array.isArray(json)) {
    if (json.length > maxEvents) throw new Refusal(413, `over ${maxEvents} events`);
    return json.map((item, index) => parseEvent(item, `[${index}]`));
  }
  return [parseEvent(json, "")];
}

function parseEvent(json: unknown, position: string): ReconcilerEvent {
  const result = v.safeParse(eventSchema, json, { abortEarly: true, abortPipeEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const field = [position, v.getDotPath(issue)].filter(Boolean).join(".");
  if (!field) throw new Refusal(400, "must be an event or an array of events");
  throw new Refusal(400, `${field}: ${issue.received === "undefined" ? "is missing" : issue.message}`);
}

/** What these events add to the totals: only the series that they change. */
export async function tally(events: ReconcilerEvent[]): Promise<Sample[]> {
  const { registry, actions, orphanRefunds, sweepDuration, lastRun } = newMetrics();
  for (const event of events) {
    switch (event.type) {
      case "reconciler.action":
        actions.inc({ phase: event.data.phase });
        break;
      case "reconciler.orphan_refund":
        orphanRefunds.inc();
        break;
      case "reconciler.sweep":
        sweepDuration.observe(event.data.duration_seconds);
        break;
    }
  }
  const ends = events.filter(({ type }) => type === "reconciler.sweep").map(({ timestamp }) => timestamp / 1000);
  // A sender's clock may run ahead. A run that is later than now would hide for as long that the reconciler has died.
  if (ends.length > 0) lastRun.set(Math.min(Math.max(...ends), Date.now() / 1000));

  const families = (await registry.getMetricsAsJSON()) as Family[];
  return families.flatMap(seriesOf).filter(({ value }) => value !== 0);
}

/** The reconciler metrics with these totals. A series without a total is there as 0, so that its first increment shows. */
export async function reconcilerRegistry(totals: Sample[]): Promise<Registry> {
  const totalOf = new Map(totals.map((sample) => [seriesKey(sample), sample.value]));
  const families = (await newMetrics().registry.getMetricsAsJSON()) as Family[];
  for (const family of families) {
    for (const [index, series] of seriesOf(family).entries()) {
      const value = family.values[index];
      if (value) value.value = totalOf.get(seriesKey(series)) ?? 0;
    }
  }
  return AggregatorRegistry.aggregate([families]);
}

function newMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const actions = new Counter({
    name: reconcilerMetric.actions,
    help: "Rows that the reconciler repaired, by phase of its sweep.",
    labelNames: ["phase"],
    registers,
  });
  for (const phase of phases) actions.inc({ phase }, 0);
  const orphanRefunds = new Counter({
    name: reconcilerMetric.orphanRefunds,
    help: "Orphan refunds that the reconciler marked as failed.",
    registers,
  });
  const sweepDuration = new Histogram({
    name: reconcilerMetric.sweepDuration,
    help: "Duration of a sweep of the reconciler, in seconds.",
    buckets: [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2],
    registers,
  });
  const lastRun = new Gauge({
    name: reconcilerMetric.lastRun,
    help: "Unix time at which the reconciler's latest sweep ended; 0 before the first.",
    registers,
  });
  return { registry, actions, orphanRefunds, sweepDuration, lastRun };
}

/** prom-client's JSON form of a metric; its types leave out `metricName`, which a histogram's series carry. */
interface Family {
  name: string;
  values: { value: number; labels: Record<string, string | number>; metricName?: string }[];
}

function seriesOf(family: Family): Sample[] {
  return family.values.map(({ metricName, labels, value }) => ({
    name: metricName ?? family.name,
    labels: Object.fromEntries(Object.entries(labels).map(([label, text]) => [label, String(text)])),
    value,
  }));
}

/** No series has more than one label, so the order of labels does not matter. */
function seriesKey({ name, labels }: Sample): string {
  return name + JSON.stringify(labels);
}
