// Events: which bodies are taken or refused, and what each event adds to the totals.

import fc from "fast-check";
import { Histogram, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { parseEvents, tally } from "../../lib/events.ts";
import type { Series } from "../../lib/exposition.ts";
import { Refusal } from "../../lib/refusal.ts";
import { exposeTotals } from "../../lib/totals.ts";

const timestamp = "2026-01-31T12:00:00Z";
const action = (phase: unknown) => ({ type: "reconciler.action", timestamp, data: { phase } });
const orphan = { type: "reconciler.orphan_refund", timestamp };
const sweep = (seconds: unknown, end: unknown = timestamp) => ({
  type: "reconciler.sweep",
  timestamp: end,
  data: { duration_seconds: seconds },
});
const parse = (value: unknown) => parseEvents(JSON.stringify(value));
const added = async (value: unknown) =>
  Object.fromEntries(tally(parse(value)).map(({ name, labels, value }) => [name + JSON.stringify(labels), value]));

describe("each event changes its own row of the contract only", () => {
  it("an action adds 1 to the counter of its phase", async () => {
    expect(await added(action("stuck_refunds"))).toEqual({
      'veza_reconciler_actions_total{"phase":"stuck_refunds"}': 1,
    });
  });

  it("an orphan refund adds 1 to its counter, and to no action", async () => {
    expect(await added(orphan)).toEqual({ "veza_reconciler_orphan_refunds_total{}": 1 });
  });

  it("a sweep from a clock that runs ahead ended when it was received, at the latest", async () => {
    const before = Date.now() / 1000;
    for (const ahead of [new Date(Date.now() + 600_000).toISOString(), "9999-12-31T23:59:59-23:59"]) {
      const lastRun = (await added([sweep(1, ahead), sweep(1)]))["veza_reconciler_last_run_timestamp{}"];
      expect(lastRun).toBeGreaterThanOrEqual(before);
      expect(lastRun).toBeLessThanOrEqual(Date.now() / 1000);
    }
  });

  it("a sweep from before 1970 moves no last run", async () => {
    expect(await added(sweep(1, "0001-01-01T00:00:00Z"))).toMatchObject({ "veza_reconciler_last_run_timestamp{}": 0 });
  });

  it("a sweep adds to the histogram, and keeps the end of the latest run", async () => {
    expect(await added([sweep(30), sweep(60, "2026-01-31T12:00:30.5+00:00"), sweep(0.1)])).toEqual({
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"0.1"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"0.2"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"0.4"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"0.8"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"1.6"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"3.2"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"6.4"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"12.8"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"25.6"}': 1,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"51.2"}': 2,
      'veza_reconciler_sweep_duration_seconds_bucket{"le":"+Inf"}': 3,
      "veza_reconciler_sweep_duration_seconds_sum{}": 90.1,
      "veza_reconciler_sweep_duration_seconds_count{}": 3,
      "veza_reconciler_last_run_timestamp{}": Date.parse("2026-01-31T12:00:30.500Z") / 1000,
    });
  });
});

it("a batch adds up, each event in its own series", async () => {
  const events = [action("stuck_orders"), action("stuck_orders"), action("orphan_refunds"), orphan];
  expect(await added(events)).toEqual({
    'veza_reconciler_actions_total{"phase":"stuck_orders"}': 2,
    'veza_reconciler_actions_total{"phase":"orphan_refunds"}': 1,
    "veza_reconciler_orphan_refunds_total{}": 1,
  });
});

it("ignores fields that are not described", async () => {
  expect(await added({ ...orphan, data: { refund: 7 }, extra: true })).toEqual({
    "veza_reconciler_orphan_refunds_total{}": 1,
  });
});

it("takes 1,000 events, and not one more", () => {
  expect(parse(Array(1_000).fill(orphan))).toHaveLength(1_000);
  expect(() => parse(Array(1_001).fill(orphan))).toThrow(new Refusal(413, "over 1000 events"));
});

describe("refuses, naming the field,", () => {
  it.each([
    ["null", null, "must be an event or an array of events"],
    ["a number", 7, "must be an event or an array of events"],
    ["an array in the array", [[orphan]], "[0].type: is missing"],
    ["a missing type", {}, "type: is missing"],
    ["an unknown type", { ...orphan, type: "reconciler.sleep" }, "type: must be one of reconciler.action, "],
    ["a missing timestamp", { type: "reconciler.orphan_refund" }, "timestamp: is missing"],
    ["a timestamp that is a number", { ...orphan, timestamp: 1 }, "timestamp: must be a date and time that exists"],
    ["a date alone", { ...orphan, timestamp: "2026-01-31" }, "timestamp: must be a date and time that exists"],
    ["no time zone", { ...orphan, timestamp: "2026-01-31T12:00:00" }, "timestamp: must be a date and time that exists"],
    ["a month 13", { ...orphan, timestamp: "2026-13-31T12:00:00Z" }, "timestamp: must be"],
    ["a 30th of February", { ...orphan, timestamp: "2026-02-30T12:00:00Z" }, "timestamp: must be a date and time that"],
    ["a 24th hour", { ...orphan, timestamp: "2026-02-28T24:00:00Z" }, "timestamp: must be a date and time that exists"],
    ["missing data", { type: "reconciler.action", timestamp }, "data: is missing"],
    ["data that is text", { type: "reconciler.action", timestamp, data: "x" }, "data: must be an object"],
    ["a missing phase", action(undefined), "data.phase: is missing"],
    ["an unknown phase", action("__proto__"), "data.phase: must be one of stuck_orders, stuck_refunds, orphan_refunds"],
    ["a missing duration", sweep(undefined), "data.duration_seconds: is missing"],
    ["a duration that is text", sweep("1"), "data.duration_seconds: must be a number"],
    ["a negative duration", sweep(-0.1), "data.duration_seconds: must not be negative"],
    ["a duration over a day", sweep(86_401), "data.duration_seconds: must not be over 86400"],
    ["one bad event among good ones", [orphan, orphan, action("x")], "[2].data.phase: must be one of"],
  ])("%s", (_, value, message) => {
    const refused = () => parse(value);
    expect(refused).toThrow(message);
    expect(refused).toThrow(expect.objectContaining({ status: 400 }));
  });

  it.each([
    ["text that is not JSON", "{'type': 1}", "the body is not JSON"],
    ["no body", "", "the body is not JSON"],
    ["a duration that is not finite", JSON.stringify(sweep(1)).replace(":1}", ":1e999}"), "data.duration_seconds: "],
  ])("%s", (_, body, message) => {
    expect(() => parseEvents(body)).toThrow(message);
  });

  it.each([
    "2026-01-31T12:00:00z",
    "2016-12-31T23:59:60Z",
    "2026-01-31T14:00:00+02",
    "2026-01-31 14:00:00.5+0200",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
  ])("nothing in the timestamp %s", (timestamp) => {
    expect(parse({ ...orphan, timestamp })).toHaveLength(1);
  });
});

it("shows every series as 0 before the first event", async () => {
  const text = await exposeTotals([]);
  const series = text.split("\n").filter((line) => line && !line.startsWith("#"));
  expect(series).toHaveLength(3 + 1 + 11 + 2 + 1 + 1);
  expect(series.filter((line) => !line.endsWith(" 0"))).toEqual([]);
});

it("shows stored totals as prom-client shows the same observations", async () => {
  const shows = async (durations: number[]) => {
    const registry = new Registry();
    const own = new Histogram({
      name: "veza_reconciler_sweep_duration_seconds",
      help: "Duration of a sweep of the reconciler, in seconds.",
      buckets: [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2],
      registers: [registry],
    });
    // In the order of the tally, so that fractions add up alike.
    for (const duration of durations.toSorted((a, b) => a - b)) own.observe(duration);
    const totals: Series[] = tally(durations.flatMap((duration) => parse(sweep(duration))));
    const stored: Series[] = JSON.parse(JSON.stringify(totals));
    expect(await exposeTotals(stored)).toContain(await registry.metrics());
  };
  await shows([0, 0.05, 0.1, 0.100001, 1.84, 51.2, 51.3, 600]);
  const duration = fc.oneof(
    fc.double({ min: 0, max: 86_400, noNaN: true }),
    fc.constantFrom(0.1, 0.2, 25.6, 51.2, 86_400),
  );
  await fc.assert(fc.asyncProperty(fc.array(duration, { minLength: 1, maxLength: 50 }), shows), { numRuns: 300 });
});
