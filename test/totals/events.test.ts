// Events: which bodies are taken or refused, what each event adds to the totals, and how these are shown.

import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { type Series, series } from "../../lib/gateway/exposition.ts";
import { parseEvents, phases, tally } from "../../lib/totals/events.ts";
import { Refusal } from "../../lib/totals/refusal.ts";
import { exposeTotals, heldCounters } from "../../lib/totals/totals.ts";

const timestamp = "2026-01-31T12:00:00Z";
const action = (phase: unknown) => ({ type: "reconciler.action", timestamp, data: { phase } });
const orphan = { type: "reconciler.orphan_refund", timestamp };
const sweep = (seconds: unknown, end: unknown = timestamp, phase: { phase?: unknown } = {}) => ({
  type: "reconciler.sweep",
  timestamp: end,
  data: { ...phase, duration_seconds: seconds },
});
const parse = (value: unknown) => parseEvents(JSON.stringify(value));
const added = (value: unknown) =>
  Object.fromEntries(tally(parse(value)).map(({ name, labels, value }) => [name + JSON.stringify(labels), value]));
const lastRun = "veza_reconciler_last_run_timestamp";
const phaseLastRun = "veza_reconciler_phase_last_run_timestamp_seconds";

it("adds each event to its own row of the contract, an orphan refund to no action", () => {
  const events = [action("stuck_orders"), action("stuck_orders"), action("orphan_refunds"), orphan];
  expect(added(events)).toEqual({
    'veza_reconciler_actions_total{"phase":"stuck_orders"}': 2,
    'veza_reconciler_actions_total{"phase":"orphan_refunds"}': 1,
    "veza_reconciler_orphan_refunds_total{}": 1,
  });
});

it("adds sweeps to the histogram, and keeps the end of the latest run", () => {
  expect(added([sweep(30), sweep(60, "2026-01-31T12:00:30.5+00:00"), sweep(51.2)])).toEqual({
    'veza_reconciler_sweep_duration_seconds_bucket{"le":"51.2"}': 2,
    'veza_reconciler_sweep_duration_seconds_bucket{"le":"+Inf"}': 3,
    "veza_reconciler_sweep_duration_seconds_sum{}": 141.2,
    "veza_reconciler_sweep_duration_seconds_count{}": 3,
    [`${lastRun}{}`]: Date.parse("2026-01-31T12:00:30.500Z") / 1000,
  });
});

it("keeps the end of the latest run of each phase that sweeps name, beside that of all sweeps", () => {
  const [first, second, third] = ["2026-01-31T12:00:00Z", "2026-01-31T12:01:00Z", "2026-01-31T12:02:00Z"];
  const orders = { phase: "stuck_orders" };
  const unixTime = (text = "") => Date.parse(text) / 1000;
  expect(
    added([
      sweep(1, second, orders),
      sweep(1, first, orders),
      sweep(1, first, { phase: "orphan_refunds" }),
      sweep(1, third),
    ]),
  ).toMatchObject({
    "veza_reconciler_sweep_duration_seconds_count{}": 4,
    [`${lastRun}{}`]: unixTime(third),
    [`${phaseLastRun}{"phase":"stuck_orders"}`]: unixTime(second),
    [`${phaseLastRun}{"phase":"orphan_refunds"}`]: unixTime(first),
  });
});

it("has a sweep from a clock that runs ahead end when it was received, and none before 1970", () => {
  const before = Date.now() / 1000;
  for (const ahead of [new Date(Date.now() + 600_000).toISOString(), "9999-12-31T23:59:59-23:59"]) {
    const ends = added([sweep(1, ahead, { phase: "stuck_orders" }), sweep(1)]);
    for (const end of [ends[`${lastRun}{}`], ends[`${phaseLastRun}{"phase":"stuck_orders"}`]]) {
      expect(end).toBeGreaterThanOrEqual(before);
      expect(end).toBeLessThanOrEqual(Date.now() / 1000);
    }
  }
  expect(added(sweep(1, "0001-01-01T00:00:00Z"))).toMatchObject({ [`${lastRun}{}`]: 0 });
});

it("takes 1,000 events, and not one more", () => {
  expect(parse(Array(1_000).fill(orphan))).toHaveLength(1_000);
  expect(() => parse(Array(1_001).fill(orphan))).toThrow(new Refusal(413, "over 1000 events"));
});

it.each([
  ["text that is not JSON", "{'type': 1}", "the body is not JSON"],
  ["null", null, "must be an event or an array of events"],
  ["an array in the array", [[orphan]], "[0].type: is missing"],
  ["a missing type", {}, "type: is missing"],
  ["an unknown type", { ...orphan, type: "reconciler.sleep" }, "type: must be one of reconciler.action, "],
  ["a timestamp that is a number", { ...orphan, timestamp: 1 }, "timestamp: must be a date and time that exists"],
  ["missing data", { type: "reconciler.action", timestamp }, "data: is missing"],
  ["data that is text", { type: "reconciler.action", timestamp, data: "x" }, "data: must be an object"],
  ["an unknown phase", action("__proto__"), "data.phase: must be one of stuck_orders, stuck_refunds, orphan_refunds"],
  ["a sweep of an unknown phase", sweep(1, timestamp, { phase: "x" }), "data.phase: must be one of stuck_orders, "],
  ["a sweep of an empty phase", sweep(1, timestamp, { phase: "" }), "data.phase: must be one of stuck_orders, "],
  ["a duration that is text", sweep("1"), "data.duration_seconds: must be a number"],
  ["a negative duration", sweep(-0.1), "data.duration_seconds: must not be negative"],
  ["a duration over a day", sweep(86_400.1), "data.duration_seconds: must not be over 86400"],
  ["a duration without an end", JSON.stringify(sweep(1)).replace(":1}", ":1e999}"), "data.duration_seconds: must "],
  ["one bad event among good ones", [orphan, orphan, action("x")], "[2].data.phase: must be one of"],
])("refuses %s, and names the field", (_, value, message) => {
  const refused = () => parseEvents(typeof value === "string" ? value : JSON.stringify(value));
  expect(refused).toThrow(message);
  expect(refused).toThrow(expect.objectContaining({ status: 400 }));
});

it("holds a counter that is shown above its total, and nothing else, and says how many", async () => {
  const shown = (value: number, name = "veza_reconciler_orphan_refunds_total") => series(name, {}, value);
  const held = (...given: Series[]) => heldCounters([shown(5)], given);
  expect(held(shown(5.5))).toEqual([{ ...shown(5.5), total: 5 }]);
  const sweeps = ["bucket", "sum", "count"].map((part) => shown(1, `veza_reconciler_sweep_duration_seconds_${part}`));
  expect(await exposeTotals([], [shown(5), ...sweeps])).toContain("counters_held 2\n"); // A histogram is one.
  expect(await exposeTotals([shown(5)], [shown(7)])).toContain("orphan_refunds_held 2\n");
  const ofPhase = series(phaseLastRun, { phase: "stuck_orders" }, 2e9);
  // A later run would silence an alert.
  for (const other of [
    shown(5),
    shown(4),
    shown(Number.NaN),
    shown(2e9, lastRun),
    ofPhase,
    shown(6, "veza_reconciler_gone"),
  ]) {
    expect(held(other)).toEqual([]);
  }
});

it("shows every series as 0 before the first event, so that increase() sees it", async () => {
  const lines = (await exposeTotals([])).split("\n").filter((line) => line && !line.startsWith("#"));
  const sweeps = "veza_reconciler_sweep_duration_seconds";
  const bounds = ["0.1", "0.2", "0.4", "0.8", "1.6", "3.2", "6.4", "12.8", "25.6", "51.2", "+Inf"];
  expect(lines.sort()).toEqual(
    [
      ...phases.map((phase) => `veza_reconciler_actions_total{phase="${phase}"} 0`),
      "veza_reconciler_orphan_refunds_total 0",
      ...bounds.map((bound) => `${sweeps}_bucket{le="${bound}"} 0`),
      ...["sum", "count"].map((part) => `${sweeps}_${part} 0`),
      "veza_reconciler_last_run_timestamp 0",
      ...phases.map((phase) => `${phaseLastRun}{phase="${phase}"} 0`),
      "veza_reconciler_counters_held 0",
      "veza_reconciler_orphan_refunds_held 0",
    ].sort(),
  );
});

it("the Go client has the same phases, in clients/go/ledgermetrics/event.go", async () => {
  const code = await readFile("clients/go/ledgermetrics/event.go", "utf8");
  const constants = new Map([...code.matchAll(/^\t(\w+) +Phase = "(\w+)"$/gm)].map(([, name, phase]) => [name, phase]));
  const [, slice = ""] = /^var phases = \[\]Phase\{(.*)\}$/m.exec(code) ?? [];
  expect(slice.split(", ").map((name) => constants.get(name))).toEqual(phases);
  expect(constants.size).toBe(phases.length);
});
