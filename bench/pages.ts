import { blindnessMetric } from "../lib/counts/blindness.ts";
import { overdueMetric } from "../lib/counts/counting.ts";
import { sampleTimestampMetric } from "../lib/counts/sample.ts";
import { reconcilerMetric } from "../lib/totals/events.ts";
import { byDay, minutesADay, minutesOf, notation, ofStuckOrders, play, randomCount } from "./promtool.ts";
import { randomFrom } from "./random.ts";

// npm run bench:pages [-- <seed> …]: how often stuck orders page although nothing is wrong, and how soon they page when
// all webhooks are lost, and end. It plays the shipped rules on Prometheus' own promtool. Refunds have the same rules.
const seeds = process.argv.slice(2).map(Number);
if (seeds.length === 0) seeds.push(1);

const sizes = [20, 200, 2_000, 20_000];
/** Of the late webhooks, the share that is over 30 minutes late, and the normal distribution's quantile of it. */
const tails = { "a third": 0.4307, "72 %": -0.5828 };
/** From which age on, in minutes, the reconciler repairs an order. It sweeps every 5 minutes. */
const repairs = [30, 35];
const sweepMinutes = 5;
const staleMinutes = 30;
const overdueMinutes = 40;
const lateShare = 0.01;

interface Shop {
  name: string;
  ordersADay: number;
  quantile: number;
  repairedFrom: number;
  days: number;
  /** In minutes: from when until when no webhook arrives, the first such order, and the last repair of one. */
  lost?: Record<"from" | "to" | "first" | "lastRepair", number>;
}

/** What the gateway shows of a shop, minute by minute. Times in minutes. */
function seriesOf(shop: Shop, random: () => number) {
  const minutes = shop.days * minutesADay;
  const zeros = () => Array.from({ length: minutes }, () => 0);
  const [overdue, inserted, repaired] = [zeros(), zeros(), zeros()] as const;
  const lost = shop.lost ?? { from: minutes, to: minutes, first: 0, lastRepair: 0 };
  const firstSweep = random() * sweepMinutes;
  for (let minute = 0; minute < minutes; minute += 1) {
    const mean = (shop.ordersADay / minutesADay) * byDay(0, (minute / 60) % 24);
    inserted[minute] = randomCount(mean, random);
    for (let order = 0; order < (inserted[minute] ?? 0); order += 1) {
      const createdAt = minute + random();
      const isLost = minute >= lost.from && minute < lost.to;
      if (isLost) lost.first ||= createdAt;
      if (!isLost && random() >= lateShare) continue;
      const webhookAt = isLost ? Number.POSITIVE_INFINITY : createdAt + lateness(shop.quantile, random);
      const sweeps = Math.ceil((createdAt + shop.repairedFrom - firstSweep) / sweepMinutes);
      const sweptAt = firstSweep + sweeps * sweepMinutes;
      if (webhookAt > sweptAt && sweptAt < minutes) add(repaired, Math.floor(sweptAt));
      if (isLost) lost.lastRepair = Math.max(lost.lastRepair, sweptAt);
      const settledAt = Math.min(webhookAt, sweptAt, minutes);
      for (let tick = Math.ceil(createdAt + overdueMinutes); tick < settledAt; tick += 1) add(overdue, tick);
    }
  }
  const of = (name: string, labels: string, values: number[]) => ({
    series: `${name}{job="veza_ledger", stage="${shop.name}"${labels}}`,
    values: notation(values),
  });
  return [
    of(
      sampleTimestampMetric,
      "",
      [...inserted.keys()].map((minute) => minute * 60),
    ),
    of(overdueMetric, ', check="stuck_orders"', overdue),
    of(blindnessMetric.checkInserts, ', check="stuck_orders"', totals(inserted)),
    of(reconcilerMetric.actions, ', phase="stuck_orders"', totals(repaired)),
  ];
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
const row = (cells: unknown[]) => console.log(`| ${cells.join(" | ")} |`);

/** Pages in 30 days in which nothing is wrong. */
async function printFalsePages(random: () => number, days: number): Promise<void> {
  const columns = Object.entries(tails).flatMap(([tail, quantile]) =>
    repairs.map((repairedFrom) => ({ name: `${tail} from ${repairedFrom} min`, quantile, repairedFrom })),
  );
  row(["orders a day", ...columns.map(({ name }) => name)]);
  for (const ordersADay of sizes) {
    const shops = columns.map((column): Shop => ({ ...column, ordersADay, days }));
    const pages = await ask(
      shops,
      random,
      `sum by (stage) (count_over_time((${firing} unless ${firing} offset 1m)[${days}d:1m]))`,
      [days * minutesADay - 1],
    );
    const pagesOf = (name: string) => pages.find((answer) => answer.name === name)?.value ?? 0;
    row([ordersADay, ...columns.map(({ name }) => ((pagesOf(name) * 30) / days).toFixed(2))]);
  }
}

/**
 * All webhooks are lost for a day and a half. Prints minutes from the first order over 30 minutes to the page, and from
 * the last repair to its end, by the hour at which it begins.
 */
async function printDelays(random: () => number): Promise<void> {
  const hours = Array.from({ length: 12 }, (_, index) => index * 2);
  row(["orders a day", "from", ...hours.map((hour) => `${hour}:00`)]);
  for (const ordersADay of sizes) {
    for (const repairedFrom of repairs) {
      const shops = hours.map((hour): Shop => {
        const from = minutesADay + hour * 60;
        const lost = { from, to: from + 1.5 * minutesADay, first: 0, lastRepair: 0 };
        return { name: `${hour}:00`, ordersADay, quantile: tails["a third"], repairedFrom, days: 4, lost };
      });
      const minutes = Array.from({ length: 3 * minutesADay }, (_, index) => minutesADay + index);
      const fires = await ask(shops, random, `sum by (stage) (${firing})`, minutes);
      const ofShop = ({ name }: Shop) => fires.filter((answer) => answer.name === name).map(({ minute }) => minute);
      row([
        ordersADay,
        repairedFrom,
        ...shops.map((shop) => {
          const { first = 0, lastRepair = 0 } = shop.lost ?? {};
          const [began = Number.NaN, ended = Number.NaN] = [ofShop(shop)[0], ofShop(shop).at(-1)];
          return `${(began - first - staleMinutes).toFixed(0)}, ${(ended - lastRepair).toFixed(0)}`;
        }),
      ]);
    }
  }
}

for (const seed of seeds) {
  const random = randomFrom(seed);
  console.log(`seed ${seed}: pages in 30 days in which nothing is wrong`);
  await printFalsePages(random, Number(process.env.SHOP_DAYS ?? 60));
  console.log("minutes to the page, and from the last repair to its end, by the hour from which no webhook arrives");
  await printDelays(random);
}
