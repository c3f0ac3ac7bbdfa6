// All webhooks are lost at noon, beside what a shop has anyway: when people are told, on Prometheus' own promtool.
import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { byDay, minutesADay, minutesOf, notation, ofStuckOrders, play } from "../../bench/promtool.ts";
import { acceptedMetric } from "../../lib/counts/accepted.ts";
import { blindnessMetric } from "../../lib/counts/blindness.ts";
import { checks } from "../../lib/counts/checks.ts";
import { overdueMetric } from "../../lib/counts/counting.ts";
import { sampleTimestampMetric } from "../../lib/counts/sample.ts";
import { reconcilerMetric } from "../../lib/totals/events.ts";
import { rulesPath } from "../helpers/rules.ts";

const startHour = 4;
/** In minutes since then. */
const noon = (12 - startHour) * 60;
const lossEnds = noon + 6 * 60;
const lastMinute = lossEnds + 3 * 60;
const sweepMinutes = 5;
const [staleMinutes, overdueMinutes] = [30, 40];

interface History {
  /** What there is beside the loss. */
  name: string;
  /** Whether a row that no sweep repairs is overdue at this minute. */
  isOdd?: (minute: number) => boolean;
  /** Whether the reconciler sweeps. */
  sweeps?: (minute: number) => boolean;
  /** Rows that are accepted; at `unreadAt`, a tick cannot read that. */
  backlog?: number;
  unreadAt?: number;
  isLost?: (minute: number) => boolean;
}

const during = (from: number, to: number) => (minute: number) => minute >= from && minute < to;
const histories: History[] = [
  { name: "nothing else" },
  { name: "an odd row that ended 5 minutes before", isOdd: during(noon - 65, noon - 5) },
  { name: "an odd row for 60 minutes in the middle", isOdd: during(noon + 60, noon + 120) },
  { name: "a reconciler that pauses for 15 minutes", sweeps: (minute) => !during(noon + 120, noon + 135)(minute) },
  { name: "a backlog of 3,000 accepted rows", backlog: 3_000 },
  { name: "a backlog that one tick cannot read", backlog: 3_000, unreadAt: noon + 90 },
  { name: "an odd row beside a backlog", backlog: 3_000, isOdd: during(noon + 60, noon + 120) },
];
/** Nothing is lost, and all is late that the reconciler repairs when it is back. */
const dead: History = {
  name: "no loss, and a reconciler that is dead for an hour",
  isLost: during(noon, noon + 60),
  sweeps: (minute) => !during(noon + 15, noon + 105)(minute),
};

it("compares late repairs with the inserts of as long ago as an order may wait", async () => {
  const rules = await readFile(rulesPath, "utf8");
  const late = checks.filter(({ id }) => rules.includes(`untold_rows_1h{phase="${id}"}`));
  expect(late.length).toBeGreaterThan(1);
  for (const { id, staleAfter } of late) expect(staleAfter, id).toBe("30 minutes");
  const offsets = rules.match(/(?<=veza_ledger_check_inserts offset )\d+m(?= (?:-|>= 0))/g);
  expect(offsets, "from 30 minutes ago, for 1 and for 6 hours").toEqual(["30m", "90m", "30m", "390m"]);
});

/** What the gateway shows minute by minute of a shop whose orders come as evenly as its day has them. */
function seriesOf(ordersADay: number, history: History) {
  const { isOdd, sweeps = () => true, backlog = 0, unreadAt, isLost = during(noon, lossEnds) } = history;
  const minutes = Array.from({ length: lastMinute }, (_, minute) => minute);
  let due = 0;
  let [inserted, repaired] = [1_000, 1_000];
  let waiting: number[] = [];
  const shown = minutes.map((minute) => {
    due += (ordersADay / minutesADay) * byDay(0, startHour + minute / 60);
    for (; due >= 1; due -= 1) {
      inserted += 1;
      if (isLost(minute)) waiting.push(minute);
    }
    if (minute % sweepMinutes === 0 && sweeps(minute)) {
      const left = waiting.filter((createdAt) => createdAt > minute - staleMinutes);
      repaired += waiting.length - left.length;
      if (left.length < waiting.length) lastRepair.set(nameOf(ordersADay, history), minute);
      waiting = left;
    }
    const late = waiting.filter((createdAt) => createdAt < minute - overdueMinutes).length;
    return { inserted, repaired, overdue: late + Number(isOdd?.(minute) ?? 0) + (minute === unreadAt ? backlog : 0) };
  });
  const of = (metric: string, labels: string, values: number[]) => ({
    series: `${metric}{job="veza_ledger", stage="${nameOf(ordersADay, history)}"${labels}}`,
    values: notation(values),
  });
  const check = ', check="stuck_orders"';
  return [
    of(
      sampleTimestampMetric,
      "",
      minutes.map((minute) => minute * 60),
    ),
    of(
      overdueMetric,
      check,
      shown.map(({ overdue }) => overdue),
    ),
    of(
      blindnessMetric.checkInserts,
      check,
      shown.map((one) => one.inserted),
    ),
    of(
      reconcilerMetric.actions,
      ', phase="stuck_orders"',
      shown.map((one) => one.repaired),
    ),
    of(
      acceptedMetric,
      check,
      minutes.map(() => backlog),
    ),
  ];
}

const sizes = [200, 2_000];
const nameOf = (ordersADay: number, { name }: History) => `${ordersADay} a day: ${name}`;
/** The minute of the last late repair, by shop. */
const lastRepair = new Map<string, number>();
/** The minutes in which the shop's alert fires, by shop: because of overdue rows, and because of late repairs. */
const firing = new Map<string, { overdue: number[]; late: number[] }>();

beforeAll(async () => {
  const shops = sizes.flatMap((ordersADay) => [...histories, dead].map((history) => ({ ordersADay, history })));
  const answers = await play({
    series: shops.flatMap(({ ordersADay, history }) => seriesOf(ordersADay, history)),
    groups: ofStuckOrders,
    interval: "1m",
    expr: 'ALERTS{alertname="VezaLedgerStuckOrders", alertstate="firing"}',
    looks: Array.from({ length: lastMinute - noon + 120 }, (_, index) => `${noon - 120 + index}m`),
  });
  for (const { ordersADay, history } of shops) firing.set(nameOf(ordersADay, history), { overdue: [], late: [] });
  for (const { time, got } of answers) {
    for (const [series = "", stage = ""] of got.matchAll(/\{[^{}]*stage=\\?"([^"\\]+)[^{}]*\}/g)) {
      firing.get(stage)?.[series.includes("repaired late") ? "late" : "overdue"].push(minutesOf(time));
    }
  }
}, 600_000);

describe.each(sizes)("at %i orders a day, all webhooks are lost at noon for 6 hours,", (ordersADay) => {
  it.each(histories)("and people are told within 50 minutes, until it is over, beside $name", (history) => {
    const { late = [] } = firing.get(nameOf(ordersADay, history)) ?? {};
    const [first = Number.NaN, last = Number.NaN] = [late[0], late.at(-1)];
    expect(first).toBeGreaterThan(noon);
    expect(first - noon).toBeLessThanOrEqual(50);
    expect(last, "no RESOLVED before the loss ends").toBeGreaterThan(lossEnds);
    expect(late, "no RESOLVED in the middle").toHaveLength(last - first + 1);
    expect(last - (lastRepair.get(nameOf(ordersADay, history)) ?? 0)).toBeLessThan(120);
  });

  it("and a row that becomes overdue beside a backlog pages within 4 minutes", () => {
    const { overdue = [] } = firing.get(nameOf(ordersADay, { name: "an odd row beside a backlog" })) ?? {};
    expect((overdue[0] ?? Number.NaN) - (noon + 60)).toBeLessThanOrEqual(4);
  });

  it("and a tick that cannot read what is accepted wakes nobody", () => {
    expect(firing.get(nameOf(ordersADay, { name: "a backlog that one tick cannot read" }))?.overdue).toEqual([]);
  });

  it("and what a reconciler repairs that was dead is known: rows were overdue", () => {
    const { overdue = [], late } = firing.get(nameOf(ordersADay, dead)) ?? {};
    expect(overdue.length).toBeGreaterThan(0);
    expect(late).toEqual([]);
  });
});
