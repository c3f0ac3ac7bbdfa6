// All webhooks are lost at noon, beside what a shop has anyway: when people are told, on Prometheus' own promtool.
import { beforeAll, describe, expect, it } from "vitest";
import { byDay, minutesADay, minutesOf, nobodyLeaves, notation, ofStuckOrders, play } from "../../bench/promtool.ts";
import { blindnessMetric } from "../../lib/counts/blindness.ts";
import { checks, sweepMinutes } from "../../lib/counts/checks.ts";
import { overdueMetric } from "../../lib/counts/counting.ts";
import { minutesIn } from "../../lib/counts/interval.ts";
import { sampleTimestampMetric } from "../../lib/counts/sample.ts";
import { isAlert, shippedGroups } from "../helpers/rules.ts";

const startHour = 9;
/** In minutes since then. */
const noon = (12 - startHour) * 60;
const lossEnds = noon + 6 * 60;
const lastMinute = lossEnds + 5 * 60;
const stuckOrders = checks.find(({ id }) => id === "stuck_orders");
const [staleMinutes, overdueMinutes] = [minutesIn(stuckOrders?.stuckAfter), minutesIn(stuckOrders?.overdueAfter)];
const nearlyMinutes = staleMinutes - 5;
/** From the first lost order to the page, at most. */
const toldWithin = staleMinutes + 20;

/** What the gateway shows. */
const metrics = {
  tick: sampleTimestampMetric,
  overdue: overdueMetric,
  nearlyStuck: blindnessMetric.nearlyStuck,
  inserts: blindnessMetric.checkInserts,
} as const;
type Shown = Record<keyof typeof metrics, number>;
type Part = keyof Shown;
type Change = (shown: Shown, minute: number) => Partial<Record<Part, number | undefined>>;

interface History {
  /** What there is beside the loss. */
  name: string;
  ordersADay?: number;
  isLost?: (minute: number) => boolean;
  /** The share of other orders whose webhook is lost. */
  lateShare?: number;
  /** Whether the reconciler sweeps. */
  sweeps?: (minute: number) => boolean;
  /** Postgres answers nothing, and takes no order. */
  isDown?: (minute: number) => boolean;
  /** No tick arrives, and the gateway shows the last one. */
  isSilent?: (minute: number) => boolean;
  /** What one minute shows instead. */
  change?: Change;
}

const during = (from: number, to: number) => (minute: number) => minute >= from && minute < to;
const never = () => false;
const inTheMiddle = during(noon + 120, noon + 240);
const parts = Object.keys(metrics) as Part[];
/** What the rules about lost webhooks read. */
const unknown: Part[] = ["nearlyStuck", "inserts"];

const losses: History[] = [
  { name: "nothing else", ordersADay: 200 },
  { name: "nothing else" },
  { name: "rows that stay stuck, as an accepted backlog", change: ({ overdue }) => ({ overdue: overdue + 3_000 }) },
  { name: "a reconciler that pauses for 15 minutes", sweeps: (minute) => !during(noon + 120, noon + 135)(minute) },
  { name: "a Postgres that is away for 2 hours, in a small shop", ordersADay: 200, isDown: inTheMiddle },
  { name: "a sampler that is silent for 2 hours", isSilent: inTheMiddle },
  {
    name: "statistics that fall",
    change: ({ inserts }, minute) => (minute >= noon + 150 ? { inserts: inserts - 1_100 } : {}),
  },
  { name: "statistics that stand still", change: (_, minute) => (inTheMiddle(minute) ? { inserts: 1_500 } : {}) },
  ...unknown.map((part): History => {
    return {
      name: `${part} being unknown for 2 hours`,
      change: (_, minute) => (inTheMiddle(minute) ? { [part]: undefined } : {}),
    };
  }),
];
const dead: History = {
  name: "a reconciler that is dead for as long",
  isLost: during(noon, noon + 180),
  sweeps: (minute) => !during(noon, noon + 185)(minute),
};
const quiet: History[] = [
  {
    name: "the sampler is silent for an hour",
    ordersADay: 20_000,
    lateShare: 0.01,
    isLost: never,
    isSilent: during(noon, noon + 60),
  },
  ...unknown.map((part): History => {
    const change: Change = (_, minute) => (minute > noon ? { [part]: undefined } : {});
    return { name: `${part} is unknown from then on`, ordersADay: 20_000, lateShare: 0.01, isLost: never, change };
  }),
];
const histories = [...losses, dead, ...quiet];
/** promtool reads 10,000 samples at most for an expression. */
const playedAtOnce = 8;
const stageOf = ({ name, ordersADay = 2_000 }: History) => `${ordersADay} a day: ${name}`;

/** What the gateway shows minute by minute of a shop whose orders come as evenly as its day has them. */
function seriesOf(history: History) {
  const { ordersADay = 2_000, isLost = during(noon, lossEnds), lateShare = 0, change = () => ({}) } = history;
  const { sweeps = () => true, isDown = never, isSilent = never } = history;
  let [due, dueLate, inserts] = [0, 0, 1_000];
  let waiting: number[] = [];
  const shown: Partial<Record<Part, number | undefined>>[] = [];
  for (let minute = 0; minute < lastMinute; minute += 1) {
    due += isDown(minute) ? 0 : (ordersADay / minutesADay) * byDay(0, startHour + minute / 60);
    for (; due >= 1; due -= 1) {
      inserts += 1;
      dueLate += isLost(minute) ? 1 : lateShare;
      for (; dueLate >= 1; dueLate -= 1) waiting.push(minute);
    }
    if (minute % sweepMinutes === 0 && sweeps(minute) && !isDown(minute)) {
      waiting = waiting.filter((createdAt) => createdAt > minute - staleMinutes);
    }
    const ages = waiting.map((createdAt) => minute - createdAt);
    const nearlyStuck = ages.filter((age) => age > nearlyMinutes && age <= staleMinutes).length;
    if (nearlyStuck > 0) lastNearlyStuck.set(stageOf(history), minute);
    const overdue = ages.filter((age) => age > overdueMinutes).length;
    const all: Shown = { tick: minute * 60, overdue, nearlyStuck, inserts };
    if (isSilent(minute)) shown.push(shown.at(-1) ?? all);
    else if (isDown(minute)) shown.push({ tick: all.tick });
    else shown.push({ ...all, ...change(all, minute) });
  }
  const shownSeries = parts.map((part) => {
    const labels = `job="veza_ledger", stage="${stageOf(history)}"${part === "tick" ? "" : ', check="stuck_orders"'}`;
    return { series: `${metrics[part]}{${labels}}`, values: notation(shown.map((one) => one[part])) };
  });
  return [...shownSeries, nobodyLeaves(stageOf(history), lastMinute)];
}

/** The last minute in which a row was nearly stuck, by stage. */
const lastNearlyStuck = new Map<string, number>();
/** The minutes in which the alert fires, by stage: because of overdue rows, and because of lost webhooks. */
const firing = new Map<string, { overdue: number[]; late: number[] }>();
const firingOf = (history: History) => firing.get(stageOf(history)) ?? { overdue: [], late: [] };

beforeAll(async () => {
  for (const history of histories) firing.set(stageOf(history), { overdue: [], late: [] });
  for (let first = 0; first < histories.length; first += playedAtOnce) {
    const answers = await play({
      series: histories.slice(first, first + playedAtOnce).flatMap(seriesOf),
      groups: (shipped) => ofStuckOrders(shipped, "3h"), // Nothing is unknown for longer.
      interval: "1m",
      expr: 'ALERTS{alertname="VezaLedgerStuckOrders", alertstate="firing"}',
      looks: Array.from({ length: lastMinute - noon + 60 }, (_, index) => `${noon - 60 + index}m`),
    });
    for (const { time, got } of answers) {
      for (const [series = "", stage = ""] of got.matchAll(/\{[^{}]*stage=\\?"([^"\\]+)[^{}]*\}/g)) {
        firing.get(stage)?.[series.includes("repaired late") ? "late" : "overdue"].push(minutesOf(time));
      }
    }
  }
}, 600_000);

it.each(losses)(
  "tells within 20 minutes of the first stuck order that all webhooks are lost, until it is over, beside $name",
  (history) => {
    const { late } = firingOf(history);
    const [first = Number.NaN, last = Number.NaN] = [late[0], late.at(-1)];
    expect(first).toBeGreaterThan(noon + nearlyMinutes);
    expect(first - noon).toBeLessThanOrEqual(toldWithin);
    expect(last, "no RESOLVED before the loss ends").toBeGreaterThan(lossEnds);
    expect(late, "no RESOLVED in the middle").toHaveLength(last - first + 1);
    expect(last - (lastNearlyStuck.get(stageOf(history)) ?? 0)).toBeLessThan(210);
  },
);

it("tells of a loss beside a reconciler that is dead by both reasons within 5 minutes, and of nothing new after the mend", () => {
  const { overdue, late } = firingOf(dead);
  expect((overdue[0] ?? 0) - noon).toBeLessThanOrEqual(toldWithin);
  expect(Math.abs((late[0] ?? 0) - (overdue[0] ?? 0))).toBeLessThanOrEqual(5);
  for (const minutes of [overdue, late]) expect(minutes).toHaveLength((minutes.at(-1) ?? 0) - (minutes[0] ?? 0) + 1);
  expect((late.at(-1) ?? 0) - (lastNearlyStuck.get(stageOf(dead)) ?? 0)).toBeLessThan(210);
});

describe("wakes nobody where 1 % of the webhooks of a busy shop are late", () => {
  it.each(quiet)("and $name", (history) => expect(firingOf(history)).toEqual({ overdue: [], late: [] }));
});

it("reads no event of the reconciler, and tells of each check that waits for webhooks", async () => {
  const rules = (await shippedGroups()).flatMap(({ rules }) => rules) as { record?: string; expr: string }[];
  const lateRules = rules.filter(({ record, expr }) => /nearly_stuck|:late:/.test(`${record}${expr}`));
  expect(lateRules.length).toBeGreaterThan(5);
  for (const { expr } of lateRules) expect(expr).not.toContain("veza_reconciler");
  const alerts = new Set(lateRules.filter(isAlert).map(({ expr }) => /check="(\w+)"/.exec(expr)?.[1]));
  const waiting = checks.filter(({ waitsForWebhook }) => waitsForWebhook);
  expect([...alerts].sort()).toEqual(waiting.map(({ id }) => id).sort());
});
