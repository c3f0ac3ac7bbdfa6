import { blindnessMetric } from "../lib/blindness.ts";
import { checkSuccessMetric, oldestItemMetric } from "../lib/checks.ts";
import { reconcilerMetric } from "../lib/events.ts";
import { sampleTimestampMetric } from "../lib/sample.ts";
import { byDay, countOf, type Group, minutesADay, notation, play, randomFrom } from "./promtool.ts";

// npm run bench:pages [-- <seed> …]: how often stuck orders page although nothing is wrong, and how soon they page when
// all webhooks are lost. It plays the shipped rules on Prometheus' own promtool, and takes about half an hour for each
// seed. Refunds have the same rules, as tickets.
const seeds = process.argv.slice(2).map(Number);
if (seeds.length === 0) seeds.push(1);

const sizes = [20, 200, 2_000, 20_000];
/** Of the late webhooks, the share that is over 30 minutes late. */
const tails = { "a third": 1 / 3, "72 %": 0.72 };
/** From which age on, in minutes, the reconciler repairs an order. It sweeps every 5 minutes. */
const repairs = [30, 35];
const sweepMinutes = 5;
const staleMinutes = 30;
const lateShare = 0.01;

interface Shop {
  name: string;
  ordersADay: number;
  overStale: number;
  repairedFrom: number;
  days: number;
  /** Minute from which on no webhook arrives. */
  lostFrom?: number;
}

/** What the gateway shows, minute by minute: rows stuck, since when the oldest waits, and totals. Times in minutes. */
function shownBy(shop: Shop, random: () => number) {
  const minutes = shop.days * minutesADay;
  const zeros = () => Array.from({ length: minutes }, () => 0);
  const [stuck, inserted, repaired] = [zeros(), zeros(), zeros()] as const;
  const oldest: (number | undefined)[] = Array.from({ length: minutes });
  const firstSweep = random() * sweepMinutes;
  for (let minute = 0; minute < minutes; minute += 1) {
    const mean = (shop.ordersADay / minutesADay) * byDay(0, (minute / 60) % 24);
    inserted[minute] = countOf(mean, random);
    for (let order = 0; order < (inserted[minute] ?? 0); order += 1) {
      const createdAt = minute + random();
      const isLost = minute >= (shop.lostFrom ?? minutes);
      if (!isLost && random() >= lateShare) continue;
      const webhookAt = isLost ? Number.POSITIVE_INFINITY : createdAt + lateness(shop.overStale, random);
      const sweeps = Math.ceil((createdAt + shop.repairedFrom - firstSweep) / sweepMinutes);
      const sweptAt = firstSweep + sweeps * sweepMinutes;
      if (webhookAt > sweptAt && sweptAt < minutes) add(repaired, Math.floor(sweptAt));
      const settledAt = Math.min(webhookAt, sweptAt, minutes);
      for (let tick = Math.ceil(createdAt + staleMinutes); tick < settledAt; tick += 1) {
        add(stuck, tick);
        oldest[tick] = Math.min(oldest[tick] ?? createdAt, createdAt);
      }
    }
  }
  return { stuck, oldest, inserted: totals(inserted), repaired: totals(repaired) };
}

function add(counts: number[], minute: number): void {
  counts[minute] = (counts[minute] ?? 0) + 1;
}

/** Minutes by which a late webhook is late. The logarithm is normal, with a heavy tail. */
function lateness(overStale: number, random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  // The normal distribution's quantiles of the two tails.
  const quantile = overStale < 0.5 ? 0.4307 : -0.5828;
  return staleMinutes * Math.exp(1.5 * (normal - quantile));
}

function totals(rises: number[]): number[] {
  let total = 1_000;
  return rises.map((rise) => {
    total += rise;
    return total;
  });
}

function seriesOf(shop: Shop, random: () => number) {
  const { stuck, oldest, inserted, repaired } = shownBy(shop, random);
  const beginSeconds = 1_000_000; // 0 would mean that there is no row.
  const of = (name: string, labels: string, values: number[]) => ({
    series: `${name}{job="veza_ledger", stage="${shop.name}"${labels}}`,
    values: notation(values),
  });
  const check = ', check="stuck_orders"';
  const seconds = (minute: number | undefined) => (minute === undefined ? 0 : Math.round(minute * 60) + beginSeconds);
  return [
    of(
      sampleTimestampMetric,
      "",
      stuck.map((_, minute) => seconds(minute)),
    ),
    of("veza_ledger_stuck_orders_pending", "", stuck),
    of(oldestItemMetric, check, oldest.map(seconds)),
    of(
      checkSuccessMetric,
      check,
      stuck.map(() => 1),
    ),
    of(
      blindnessMetric.outside,
      `${check}, reason="no_time"`,
      stuck.map(() => 0),
    ),
    of(blindnessMetric.inserts, ', table="orders"', inserted),
    of(reconcilerMetric.actions, ', phase="stuck_orders"', repaired),
  ];
}

/** The rules that these names select. Nothing is unknown in these shops, so that they need not look back for a day. */
const rulesOf = (names: RegExp) => (shipped: Group[]) =>
  shipped
    .filter(({ name }) => /money|blind/.test(name))
    .map(({ rules, ...group }) => ({
      ...group,
      rules: rules
        .filter(({ record = "", alert = "" }) => names.test(record + alert))
        .map((rule) => ({ ...rule, expr: rule.expr.replaceAll(/\[(1d|3h):1m\]/g, "[20m:1m]") }))
        // promtool evaluates every group each minute.
        .map((rule) =>
          /blind/.test(group.name) ? { ...rule, expr: `(${rule.expr}) and on () minute() % 5 == 0` } : rule,
        ),
    }));
const ofStuckOrders = /:check_(late|counted|open|oldest|waited|inserts|answered)\b|StuckOrders/;
const ofGrowth = /:check_growing\b|BacklogGrowing/;

/** The answers of one look at all shops, by their names. */
async function ask(shops: Shop[], random: () => number, rules: RegExp, expr: string): Promise<Map<string, number>> {
  const minutes = Math.max(...shops.map(({ days }) => days)) * minutesADay;
  const [answer] = await play({
    series: shops.flatMap((shop) => seriesOf(shop, random)),
    groups: rulesOf(rules),
    interval: "1m",
    expr,
    looks: [`${minutes - 1}m`],
  });
  const found = answer?.got.matchAll(/stage=\\?"(.+?)\\?"\} ([\d.E+-]+)/g) ?? [];
  return new Map([...found].map(([, name = "", value]) => [name, Number(value)]));
}

const firing = 'ALERTS{alertstate="firing", severity="page"}';
const row = (cells: unknown[]) => console.log(`| ${cells.join(" | ")} |`);

/** Pages in 30 days in which nothing is wrong. */
async function printFalsePages(random: () => number, days: number): Promise<void> {
  const columns = Object.entries(tails).flatMap(([tail, overStale]) =>
    repairs.map((repairedFrom) => ({ tail, overStale, repairedFrom })),
  );
  const shops = sizes.flatMap((ordersADay) =>
    columns.map(({ tail, overStale, repairedFrom }): Shop => {
      const name = `${ordersADay} a day, ${tail}, ${repairedFrom} min`;
      return { name, ordersADay, overStale, repairedFrom, days };
    }),
  );
  const begins = `count_over_time((${firing} unless ${firing} offset 1m)[${days}d:1m])`;
  const pages = await ask(
    shops,
    random,
    new RegExp(`${ofStuckOrders.source}|${ofGrowth.source}`),
    `sum by (stage) (${begins})`,
  );
  row(["orders a day", ...columns.map(({ tail, repairedFrom }) => `${tail}, from ${repairedFrom} min`)]);
  for (const ordersADay of sizes) {
    const ofSize = shops.filter((shop) => shop.ordersADay === ordersADay);
    row([ordersADay, ...ofSize.map(({ name }) => (((pages.get(name) ?? 0) * 30) / days).toFixed(1))]);
  }
}

/** Minutes from the first order over 30 minutes to the page, when all webhooks are lost from some hour on. */
async function printDelays(random: () => number): Promise<void> {
  const hours = Array.from({ length: 12 }, (_, index) => index * 2);
  row(["orders a day", "from", ...hours.map((hour) => `${hour}:00`)]);
  for (const ordersADay of sizes) {
    for (const repairedFrom of repairs) {
      const shops = hours.map((hour): Shop => {
        const lostFrom = minutesADay + hour * 60;
        return { name: `${hour}:00`, ordersADay, overStale: tails["a third"], repairedFrom, days: 3, lostFrom };
      });
      // promtool reads 10,000 samples at most, so that not all sizes fit into one play.
      const fired = await ask(shops, random, ofStuckOrders, `min by (stage) (min_over_time(ALERTS_FOR_STATE[2d:15m]))`);
      const delays = shops.map(({ name, lostFrom = 0 }) => {
        const seconds = fired.get(name);
        return seconds === undefined ? "never" : (seconds / 60 - lostFrom - staleMinutes).toFixed(0);
      });
      row([ordersADay, repairedFrom, ...delays]);
    }
  }
}

for (const seed of seeds) {
  const random = randomFrom(seed);
  console.log(`seed ${seed}: pages in 30 days in which nothing is wrong`);
  await printFalsePages(random, Number(process.env.SHOP_DAYS ?? 60));
  console.log("minutes to the page after the first order over 30 minutes, by the hour from which no webhook arrives");
  await printDelays(random);
}
