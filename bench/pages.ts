import { blindnessMetric } from "../lib/counts/blindness.ts";
import { checks, sweepMinutes } from "../lib/counts/checks.ts";
import { overdueMetric } from "../lib/counts/counting.ts";
import { minutesIn } from "../lib/counts/interval.ts";
import { sampleTimestampMetric } from "../lib/counts/sample.ts";
import { byDay, minutesADay, minutesOf, nobodyLeaves, notation, ofStuckOrders, play, randomCount } from "./promtool.ts";
import { randomFrom } from "./random.ts";

// npm run bench:pages [-- <seed> …]: how often stuck orders page although no webhook is lost; how soon they page when
// all webhooks are lost, and end; and which losses they never tell. It plays the shipped rules on Prometheus' own
// promtool. Refunds have the same rules. PART=quiet, lost or partly plays one of these three.
const seeds = process.argv.slice(2).map(Number);
if (seeds.length === 0) seeds.push(1);

const sizes = [20, 200, 2_000, 20_000];
const stuckOrders = checks.find(({ id }) => id === "stuck_orders");
const [staleMinutes, overdueMinutes] = [minutesIn(stuckOrders?.stuckAfter), minutesIn(stuckOrders?.overdueAfter)];
/** From when on an order is nearly stuck. */
const nearlyMinutes = staleMinutes - 5;
/** Of the late webhooks, the share that is too late, and the normal distribution's quantile of it. */
const tails = { "a third": 0.4307, "72 %": -0.5828 };
/** From which age on, in minutes, the reconciler repairs an order. */
const repairs = [staleMinutes, staleMinutes + sweepMinutes] as const;
/** Webhooks that are late although nothing is wrong. */
const lateShare = 0.01;
/** Of the customers, who leaves while paying: no webhook comes, and the reconciler settles that order. */
const leaveShares = [0, 0.03, 0.1, 0.2, 0.3];

interface Shop {
  name: string;
  ordersADay: number;
  quantile: number;
  repairedFrom: number;
  days: number;
  leaveShare?: number;
  /** Whether it is known before that nobody leaves. Otherwise, the rules find out what is usual. */
  isKnown?: boolean;
  /** Each day, the sampler is silent for an hour and the gateway restarts, each from a random minute on. */
  hasSilence?: boolean;
  /** In minutes: from when until when webhooks are lost, the first lost order, and when the last is stuck. */
  lost?: Record<"from" | "to" | "first" | "lastStuck", number>;
  /** The share of webhooks that is lost then; 1 by default. */
  lostShare?: number;
}

/** What the gateway shows of a shop, minute by minute. Times in minutes. */
function seriesOf(shop: Shop, random: () => number) {
  const minutes = shop.days * minutesADay;
  const zeros = () => Array.from({ length: minutes }, () => 0);
  const [overdue, inserted, nearlyStuck] = [zeros(), zeros(), zeros()] as const;
  const lost = shop.lost ?? { from: minutes, to: minutes, first: 0, lastStuck: 0 };
  const firstSweep = random() * sweepMinutes;
  for (let minute = 0; minute < minutes; minute += 1) {
    const mean = (shop.ordersADay / minutesADay) * byDay(0, (minute / 60) % 24);
    inserted[minute] = randomCount(mean, random);
    for (let order = 0; order < (inserted[minute] ?? 0); order += 1) {
      const createdAt = minute + random();
      const isLost = minute >= lost.from && minute < lost.to && random() < (shop.lostShare ?? 1);
      const leaves = shop.leaveShare !== undefined && random() < shop.leaveShare;
      if (!isLost && !leaves && random() >= lateShare) continue;
      const webhookAt = isLost || leaves ? Number.POSITIVE_INFINITY : createdAt + lateness(shop.quantile, random);
      const sweeps = Math.ceil((createdAt + shop.repairedFrom - firstSweep) / sweepMinutes);
      const sweptAt = firstSweep + sweeps * sweepMinutes;
      if (isLost) {
        lost.first ||= createdAt;
        lost.lastStuck = Math.max(lost.lastStuck, createdAt + staleMinutes);
      }
      const settledAt = Math.min(webhookAt, sweptAt, minutes);
      const nearlyUntil = Math.min(createdAt + staleMinutes, settledAt);
      for (let tick = Math.ceil(createdAt + nearlyMinutes); tick < nearlyUntil; tick += 1) add(nearlyStuck, tick);
      for (let tick = Math.ceil(createdAt + overdueMinutes); tick < settledAt; tick += 1) add(overdue, tick);
    }
  }
  const shown = shop.hasSilence ? withSilence(minutes, random) : (values: number[]) => values;
  const of = (name: string, labels: string, values: number[]) => ({
    series: `${name}{job="veza_ledger", stage="${shop.name}"${labels}}`,
    values: notation(shown(values)),
  });
  const check = ', check="stuck_orders"';
  return [
    of(
      sampleTimestampMetric,
      "",
      [...inserted.keys()].map((minute) => minute * 60),
    ),
    of(overdueMetric, check, overdue),
    of(blindnessMetric.nearlyStuck, check, nearlyStuck),
    of(blindnessMetric.checkInserts, check, totals(inserted)),
    ...(shop.isKnown ? [nobodyLeaves(shop.name, minutes)] : []),
  ];
}

/** Returns what the gateway shows of values: in silence, those of the last tick; after a restart, none for a minute. */
function withSilence(minutes: number, random: () => number) {
  const lastTick = Array.from({ length: minutes }, (_, minute) => minute);
  const isEmpty = new Set<number>();
  for (let day = 0; day < minutes; day += minutesADay) {
    const silentFrom = day + Math.floor(random() * (minutesADay - 60));
    lastTick.fill(silentFrom, silentFrom + 1, silentFrom + 61);
    isEmpty.add(day + Math.floor(random() * minutesADay));
  }
  return (values: number[]) => lastTick.map((tick, minute) => (isEmpty.has(minute) ? undefined : values[tick]));
}

function add(counts: number[], minute: number): void {
  counts[minute] = (counts[minute] ?? 0) + 1;
}

/** Minutes by which a late webhook is late. The logarithm is normal, with a heavy tail. */
function lateness(quantile: number, random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return staleMinutes * Math.exp(1.5 * (normal - quantile));
}

function totals(rises: number[]): number[] {
  let total = 1_000;
  return rises.map((rise) => {
    total += rise;
    return total;
  });
}

/** What fires of the shops' stages at each of these minutes. */
async function ask(shops: Shop[], random: () => number, expr: string, minutes: number[]) {
  const answers = await play({
    series: shops.flatMap((shop) => seriesOf(shop, random)),
    groups: ofStuckOrders,
    interval: "1m",
    expr,
    looks: minutes.map((minute) => `${minute}m`),
  });
  return answers.flatMap(({ time, got }) => {
    const found = got.matchAll(/stage=\\?"(.+?)\\?"\} ([\d.E+-]+)/g);
    return [...found].map(([, name = "", value]) => ({ minute: minutesOf(time), name, value: Number(value) }));
  });
}

const firing = 'ALERTS{alertstate="firing"}';
/** By stage and severity, separated by a space. */
const bySeverity = (expr: string) => `sum by (stage) (label_join(${expr}, "stage", " ", "stage", "severity"))`;
const pageFiring = 'ALERTS{alertstate="firing", severity="page"}';
const row = (cells: unknown[]) => console.log(`| ${cells.join(" | ")} |`);

/**
 * Pages and tickets although no webhook is lost, by the share of customers who leave while paying. On each day there is
 * an hour of silence.
 */
async function printFalsePages(random: () => number, days: number): Promise<void> {
  row(["orders a day", ...leaveShares.map((share) => `${share * 100} % leave`)]);
  const since = `${firing} unless ${firing} offset 5m`;
  const firings = bySeverity(`count_over_time((${since})[${days}d:5m])`);
  for (const ordersADay of sizes) {
    const cells: string[] = [];
    // promtool reads 10,000 samples at most.
    for (const leaveShare of leaveShares) {
      const name = `${leaveShare}`;
      const [quantile, repairedFrom] = [tails["72 %"], repairs[1]];
      const shop: Shop = { name, ordersADay, quantile, repairedFrom, days, leaveShare, hasSilence: true };
      const told = await ask([shop], random, firings, [days * minutesADay - 5]);
      const times = (severity: string) => told.find((answer) => answer.name === `${name} ${severity}`)?.value ?? 0;
      cells.push(`${times("page")}, ${times("ticket")}`);
    }
    row([ordersADay, ...cells]);
  }
}

/**
 * All webhooks are lost for a day and a half. Prints minutes from the first stuck order to the page, from the
 * last order that grew so old to its end, and how often it ended in between, by the hour at which the loss begins.
 */
async function printDelays(random: () => number): Promise<void> {
  const hours = Array.from({ length: 12 }, (_, index) => index * 2);
  row(["orders a day", "from", ...hours.map((hour) => `${hour}:00`)]);
  for (const ordersADay of sizes) {
    for (const repairedFrom of repairs) {
      const shops = hours.map((hour): Shop => {
        const from = minutesADay + hour * 60;
        const lost = { from, to: from + 1.5 * minutesADay, first: 0, lastStuck: 0 };
        return {
          name: `${hour}:00`,
          ordersADay,
          quantile: tails["a third"],
          repairedFrom,
          days: 4,
          isKnown: true,
          lost,
        };
      });
      const minutes = Array.from({ length: 3 * minutesADay }, (_, index) => minutesADay + index);
      const fires = await ask(shops, random, `sum by (stage) (${pageFiring})`, minutes);
      const ofShop = ({ name }: Shop) => fires.filter((answer) => answer.name === name).map(({ minute }) => minute);
      row([
        ordersADay,
        repairedFrom,
        ...shops.map((shop) => {
          const { first = 0, lastStuck = 0 } = shop.lost ?? {};
          const minutes = ofShop(shop);
          const [began = Number.NaN, ended = Number.NaN] = [minutes[0], minutes.at(-1)];
          const ends = minutes.filter((minute, index) => index > 0 && minute - (minutes[index - 1] ?? 0) > 1).length;
          return `${(began - first - staleMinutes).toFixed(0)}, ${(ended - lastStuck).toFixed(0)}, ${ends}`;
        }),
      ]);
    }
  }
}

/** A share of webhooks is lost for a week. Prints the share of that week's hours with a page, and with a ticket. */
async function printPartialLosses(random: () => number): Promise<void> {
  const shares = [0.05, 0.1, 0.2, 0.3, 0.5];
  row(["orders a day", ...shares.map((share) => `${share * 100} % lost`)]);
  for (const ordersADay of sizes) {
    const [from, to] = [minutesADay, 8 * minutesADay];
    const shops = shares.map((lostShare): Shop => {
      const lost = { from, to, first: 0, lastStuck: 0 };
      const quantile = tails["a third"];
      return {
        name: `${lostShare}`,
        ordersADay,
        quantile,
        repairedFrom: staleMinutes,
        days: 8,
        isKnown: true,
        lost,
        lostShare,
      };
    });
    const [length, last] = [to - from, to - 1];
    // promtool reads 10,000 samples at most.
    const quarters = `count_over_time((${bySeverity(firing)})[${length}m:15m])`;
    const open = await ask(shops, random, quarters, [last]);
    const shareOf = ({ name }: Shop, severity: string) =>
      Math.round((1500 * (open.find((answer) => answer.name === `${name} ${severity}`)?.value ?? 0)) / length);
    row([ordersADay, ...shops.map((shop) => `${shareOf(shop, "page")} %, ${shareOf(shop, "ticket")} %`)]);
  }
}

const isPlayed = (part: string) => [undefined, part].includes(process.env.PART);
for (const seed of seeds) {
  const days = Number(process.env.SHOP_DAYS ?? 14);
  if (isPlayed("quiet")) {
    console.log(`seed ${seed}: pages and tickets in ${days} days in which no webhook is lost`);
    await printFalsePages(randomFrom(seed), days);
  }
  if (isPlayed("lost")) {
    console.log(`seed ${seed}: minutes to the page, from the last stuck order to its end, and ends in between,`);
    console.log("by the hour from which no webhook arrives");
    await printDelays(randomFrom(seed));
  }
  if (isPlayed("partly")) {
    console.log(`seed ${seed}: hours of a week with a page, and with a ticket, while a share is lost`);
    await printPartialLosses(randomFrom(seed));
  }
}
