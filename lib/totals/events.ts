import * as v from "valibot";
import { type Family, keyOf, type Series, series } from "../gateway/exposition.ts";
import { maxEvents } from "../limits.ts";
import { Refusal } from "./refusal.ts";

export const reconcilerMetric = {
  actions: "veza_reconciler_actions_total",
  orphanRefunds: "veza_reconciler_orphan_refunds_total",
  sweepDuration: "veza_reconciler_sweep_duration_seconds",
  lastRun: "veza_reconciler_last_run_timestamp",
  /** Of the sweeps that name their phase, by phase. */
  phaseLastRun: "veza_reconciler_phase_last_run_timestamp_seconds",
  /** No total: how many counters are held at what the gateway shows. */
  held: "veza_reconciler_counters_held",
  /** No total: by how much the counter of orphan refunds is held above its total. */
  heldOrphans: "veza_reconciler_orphan_refunds_held",
} as const;
const { actions, orphanRefunds, sweepDuration, lastRun, phaseLastRun } = reconcilerMetric;
type Metric = keyof typeof reconcilerMetric;

/** The series that have the time of a run: the later of two times stays, and it may fall. The others are sums. */
export const runs: readonly string[] = [lastRun, phaseLastRun];

/**
 * Upper bounds of the histogram's buckets, in seconds. Another bound, or another name of a metric or a label, changes
 * the digest of each delivery, which is kept for 14 days: a replay from before would be refused with 409.
 */
const bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, Number.POSITIVE_INFINITY];
/** The label `le` of a bucket's upper bound. */
const labelOf = (bound: number): string => String(bound).replace("Infinity", "+Inf");

/** Type and HELP of each metric, and the nouns of what a delivery adds, by the suffix of a series. */
const described: Record<Metric, Pick<Family, "type" | "help"> & { nouns?: Record<string, string> }> = {
  actions: { type: "counter", help: "Rows that the reconciler repaired, by phase.", nouns: { "": "action" } },
  orphanRefunds: { type: "counter", help: "Orphan refunds marked as failed.", nouns: { "": "orphan refund" } },
  sweepDuration: { type: "histogram", help: "Seconds a sweep took.", nouns: { _count: "sweep", _sum: "sweep second" } },
  lastRun: { type: "gauge", help: "Unix time at which the reconciler's latest sweep ended; 0 before the first." },
  phaseLastRun: {
    type: "gauge",
    help: "Unix time of the end of the latest sweep that named its phase, or 0, by phase.",
  },
  held: {
    type: "gauge",
    help: "Counters held at what the gateway showed, since Postgres has lost events; 0 otherwise.",
  },
  heldOrphans: { type: "gauge", help: "Orphan refunds that the counter shows and Postgres has lost; 0 otherwise." },
};
const metrics = Object.entries(described).map(([metric, of]) => ({ name: reconcilerMetric[metric as Metric], ...of }));

/** The exposed metrics, in the order of exposition. */
export const reconcilerFamilies: Family[] = metrics.map(({ name, type, help }) => ({ name, type, help }));

/** The nouns by a series' name. */
export const nounOf = new Map(
  metrics.flatMap(({ name, nouns = {} }) => Object.entries(nouns).map(([suffix, noun]) => [name + suffix, noun])),
);

export const phases = ["stuck_orders", "stuck_refunds", "orphan_refunds"] as const;
const aPhase = `must be one of ${phases.join(", ")}`;
const maxSweepSeconds = 86_400;

const leapYear = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const monthAndDay = "(?:(?:0[13-9]|1[0-2])-(?:0[1-9]|[12][0-9]|30)|(?:0[13578]|1[02])-31|02-(?:0[1-9]|1[0-9]|2[0-8]))";
const time = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:[.][0-9]+)?";
const zone = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)";
const aTime = "must be a date and time that exists, with its time zone, such as 2026-01-31T12:00:00Z";

const timestamp = v.pipe(
  v.string(aTime),
  // RFC 3339, and the short forms of Python, PHP and Postgres. One pattern, so that the JSON Schema says the same.
  v.regex(new RegExp(`^(?:[0-9]{4}-${monthAndDay}|${leapYear}-02-29)[Tt ]${time}${zone}$`), aTime),
  v.transform((text) => {
    const iso = text.replace(/[t ]/, "T").replace("z", "Z").replace(":60", ":59"); // JavaScript knows no leap second.
    return Date.parse(iso.replace(/([+-]..):?(..)?$/, (_, hours, minutes = "00") => `${hours}:${minutes}`));
  }),
);

const types = [
  v.object({
    type: v.literal("reconciler.action"),
    timestamp,
    data: v.object({ phase: v.picklist(phases, aPhase) }, "must be an object"),
  }),
  v.object({ type: v.literal("reconciler.orphan_refund"), timestamp }),
  v.object({
    type: v.literal("reconciler.sweep"),
    timestamp,
    data: v.object(
      {
        phase: v.optional(v.picklist(phases, aPhase)),
        duration_seconds: v.pipe(
          v.number("must be a number"),
          v.minValue(0, "must not be negative"),
          v.maxValue(maxSweepSeconds, `must not be over ${maxSweepSeconds} (one day); is it in seconds?`),
        ),
      },
      "must be an object",
    ),
  }),
] as const;

/** One event as a sender writes it. */
export const eventSchema = v.variant(
  "type",
  types,
  `must be one of ${types.map(({ entries }) => entries.type.literal).join(", ")}`,
);

export type SentEvent = v.InferInput<typeof eventSchema>;
/** One event as `parseEvents` has read it: its time is in milliseconds. */
export type ReconcilerEvent = v.InferOutput<typeof eventSchema>;

/**
 * Parses a body: one event, or an array of up to 1,000, all or nothing. An empty array is valid and counts nothing.
 * Unknown fields are ignored. Throws a Refusal: 400 that names the first wrong field, or 413.
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

/** How many names of ignored fields are told, and how much of each: enough to find a misspelt one. */
const toldFields = 5;
const toldCharacters = 40;

/**
 * The fields that `parseEvents` ignores in a body that it takes, such as `data.count`: a few names, each once. An empty
 * object is no field: some senders always write `data`.
 */
export function ignoredFields(body: string): string[] {
  const sent = [JSON.parse(body)].flat() as Record<string, unknown>[];
  const ignored = sent.flatMap((event) => {
    const entries = types.find(({ entries }) => entries.type.literal === event.type)?.entries;
    if (!entries) return [];
    const isEmpty = (name: string) => JSON.stringify(event[name]) === "{}";
    const strange = Object.keys(event).filter((name) => !Object.hasOwn(entries, name) && !isEmpty(name));
    if (!("data" in entries)) return strange;
    const inData = Object.keys(event.data as object).filter((name) => !Object.hasOwn(entries.data.entries, name));
    return [...strange, ...inData.map((name) => `data.${name}`)];
  });
  return [...new Set(ignored)].slice(0, toldFields).map((name) => name.slice(0, toldCharacters));
}

/**
 * Sums up what events add to the totals: one increment for each series that they change. A last run is no sum: its
 * increment is the time of a run.
 */
export function tally(events: ReconcilerEvent[]): Series[] {
  const increments = new Map<string, Series>();
  const add = (name: string, labels: Series["labels"], value: number) => {
    const increment = series(name, labels, value);
    const before = increments.get(keyOf(increment))?.value ?? 0;
    increment.value = runs.includes(name) ? Math.max(before, value) : before + value;
    increments.set(keyOf(increment), increment);
  };
  // In one order: sums of fractions depend on it, and the same events in another order are the same delivery.
  const durationOf = (event: ReconcilerEvent) => (event.type === "reconciler.sweep" ? event.data.duration_seconds : 0);
  for (const event of events.toSorted((a, b) => durationOf(a) - durationOf(b))) {
    for (const { name, labels, value } of addedBy(event)) add(name, labels, value);
  }
  return [...increments.values()];
}

/** What one event adds. An event of the schema that is missing here does not compile. */
function addedBy(event: ReconcilerEvent): Series[] {
  switch (event.type) {
    case "reconciler.action":
      return [series(actions, { phase: event.data.phase }, 1)];
    case "reconciler.orphan_refund":
      return [series(orphanRefunds, {}, 1)];
    case "reconciler.sweep": {
      const { phase, duration_seconds: seconds } = event.data;
      // Clamp to now: a future time would silence ReconcilerDead until then.
      const end = Math.min(event.timestamp, Date.now()) / 1000;
      return [
        ...bounds
          .filter((bound) => seconds <= bound)
          .map((bound) => series(`${sweepDuration}_bucket`, { le: labelOf(bound) }, 1)),
        series(`${sweepDuration}_sum`, {}, seconds),
        series(`${sweepDuration}_count`, {}, 1),
        series(lastRun, {}, end),
        ...(phase ? [series(phaseLastRun, { phase }, end)] : []),
      ];
    }
  }
}

/** Events of each type that together add to every series. A type that is missing here does not compile. */
const oneOfEach: { [Type in ReconcilerEvent["type"]]: Extract<ReconcilerEvent, { type: Type }>[] } = {
  "reconciler.action": phases.map((phase) => ({ type: "reconciler.action", timestamp: 0, data: { phase } })),
  "reconciler.orphan_refund": [{ type: "reconciler.orphan_refund", timestamp: 0 }],
  // No time at all is in every bucket.
  "reconciler.sweep": phases.map((phase) => ({
    type: "reconciler.sweep",
    timestamp: 0,
    data: { phase, duration_seconds: 0 },
  })),
};

/** Every series that an event can add to, at 0. */
export const zeros: Series[] = tally(Object.values(oneOfEach).flat()).map((added) => ({ ...added, value: 0 }));
