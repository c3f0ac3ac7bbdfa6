import { ClusterRegistry, type Registry } from "prom-client";
import * as v from "valibot";
import { Refusal } from "./refusal.ts";

/** One exposed series of the reconciler metrics with its value, as it is stored in `ledger_metrics.totals`. */
export interface Total {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** What events add to a total; for the latest run, which is no sum, a time that it may be. */
export type Increment = Total;

export const reconcilerMetric = {
  actions: "veza_reconciler_actions_total",
  orphanRefunds: "veza_reconciler_orphan_refunds_total",
  sweepDuration: "veza_reconciler_sweep_duration_seconds",
  /** The latest of all values; every other series is the sum of them. */
  lastRun: "veza_reconciler_last_run_timestamp",
} as const;
const { actions, orphanRefunds, sweepDuration, lastRun } = reconcilerMetric;

export const maxEvents = 1_000;
/** Upper bounds of the histogram's buckets, in seconds. */
const bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, Number.POSITIVE_INFINITY];
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
 * Reads one event, or an array of up to 1,000: all of them, or none. An empty one counts nothing. Fields that are not
 * described are ignored.
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

/** What these events add to the totals, a series at most once: only the series that they change. */
export function tally(events: ReconcilerEvent[]): Increment[] {
  const increments = new Map<string, Increment>();
  const add = (name: string, labels: Record<string, string>, value: number) => {
    const key = seriesKey(name, labels);
    const before = increments.get(key)?.value ?? 0;
    increments.set(key, { name, labels, value: name === lastRun ? Math.max(before, value) : before + value });
  };
  for (const event of events) {
    switch (event.type) {
      case "reconciler.action":
        add(actions, { phase: event.data.phase }, 1);
        break;
      case "reconciler.orphan_refund":
        add(orphanRefunds, {}, 1);
        break;
      case "reconciler.sweep": {
        const seconds = event.data.duration_seconds;
        const reached = bounds.filter((bound) => seconds <= bound);
        for (const bound of reached) add(`${sweepDuration}_bucket`, { le: labelOf(bound) }, 1);
        add(`${sweepDuration}_sum`, {}, seconds);
        add(`${sweepDuration}_count`, {}, 1);
        // A sender's clock may run ahead. A run that is later than now would hide for as long that the reconciler has died.
        add(lastRun, {}, Math.min(event.timestamp, Date.now()) / 1000);
        break;
      }
    }
  }
  return [...increments.values()];
}

const series = (name: string, labels: Record<string, string> = {}) => ({ name, labels });

/** The exposed metrics with all their series, in the order in which prom-client exposes them. */
const families = [
  {
    name: actions,
    help: "Rows that the reconciler repaired, by phase of its sweep.",
    type: "counter",
    all: phases.map((phase) => series(actions, { phase })),
  },
  {
    name: orphanRefunds,
    help: "Orphan refunds that the reconciler marked as failed.",
    type: "counter",
    all: [series(orphanRefunds)],
  },
  {
    name: sweepDuration,
    help: "Duration of a sweep of the reconciler, in seconds.",
    type: "histogram",
    all: [
      ...bounds.map((bound) => series(`${sweepDuration}_bucket`, { le: labelOf(bound) })),
      series(`${sweepDuration}_sum`),
      series(`${sweepDuration}_count`),
    ],
  },
  {
    name: lastRun,
    help: "Unix time at which the reconciler's latest sweep ended; 0 before the first.",
    type: "gauge",
    all: [series(lastRun)],
  },
];

/** The reconciler metrics with these totals. A series without a total is there as 0, so that its first increment shows. */
export function reconcilerRegistry(totals: Total[]): Registry {
  const totalOf = new Map(totals.map(({ name, labels, value }) => [seriesKey(name, labels), value]));
  // prom-client's JSON form of metrics, since a histogram's buckets cannot be set.
  const metrics = families.map(({ all, ...family }) => ({
    ...family,
    aggregator: "sum",
    values: all.map(({ name, labels }) => ({
      metricName: name,
      labels,
      value: totalOf.get(seriesKey(name, labels)) ?? 0,
    })),
  }));
  return ClusterRegistry.aggregate([metrics]);
}

/** No series has more than one label, so the order of labels does not matter. */
function seriesKey(name: string, labels: Record<string, string>): string {
  return name + JSON.stringify(labels);
}

/** How a bucket's upper bound is written in its label. */
function labelOf(bound: number): string {
  return bound === Number.POSITIVE_INFINITY ? "+Inf" : String(bound);
}
