import { blindnessMetric } from "../lib/counts/blindness.ts";
import { sampleTimestampMetric } from "../lib/counts/sample.ts";
import { byDay, minutesADay, minutesOf, notation, play, randomCount } from "./promtool.ts";
import { randomFrom } from "./random.ts";

// npm run bench:shops [-- <seed> …]: plays 60 days of 19 shops, and of renamed statuses, to VezaLedgerCheckBlind
// by Prometheus' own promtool, and prints each time that it fires.
const seeds = process.argv.slice(2).map(Number);
if (seeds.length === 0) seeds.push(1);

const days = 60;
const minutes = days * minutesADay;
/** How often the alert is looked at, and so the error of each time that is printed. */
const lookMinutes = 10;

interface Shop {
  name: string;
  ordersADay: number;
  /** Orders at this minute against the mean, by day, from 0 (day 0 is a Monday) and hour of the day. */
  rate(day: number, hour: number): number;
  /** Day from which new orders have a status that the check does not know. It is fixed a week later. */
  renamedAt?: number;
  /** Minutes in which the sampler does not tick. */
  isAway?(minute: number): boolean;
  /** What the gateway shows meanwhile: nothing, or the last tick. */
  keepsTicks?: boolean;
  /** Minute at which Postgres crashes and forgets its statistics. */
  crashesAt?: number;
  /** Each night at 3, the partition with the orders of eight days ago is dropped, and its inserts with it. */
  dropsPartitions?: boolean;
}

const isWeekend = (day: number) => day % 7 >= 5;
const noonOf = (day: number) => day + 0.5;
const closedAtNight = (hour: number) => (hour < 8 || hour >= 22 ? 0 : 1.7);
/** From this day on, clocks differ by an hour. */
const clocksChangeOn = 27;

const shops: Shop[] = [
  { name: "1,000 a day", ordersADay: 1_000, rate: byDay },
  { name: "1,000 a day around the clock", ordersADay: 1_000, rate: () => 1 },
  { name: "200 a day", ordersADay: 200, rate: byDay },
  { name: "50 a day", ordersADay: 50, rate: byDay },
  { name: "10 a day", ordersADay: 10, rate: byDay },
  { name: "3 a day", ordersADay: 3, rate: byDay },
  { name: "weekdays", ordersADay: 500, rate: (day, hour) => (isWeekend(day) ? 0.02 : byDay(day, hour)) },
  { name: "closed at night", ordersADay: 500, rate: (_, hour) => closedAtNight(hour) },
  {
    name: "closed at night, clocks forward",
    ordersADay: 500,
    rate: (day, hour) => closedAtNight((hour + (day >= clocksChangeOn ? 1 : 0)) % 24),
  },
  {
    name: "closed at night, clocks back",
    ordersADay: 500,
    rate: (day, hour) => closedAtNight((hour + (day >= clocksChangeOn ? 23 : 0)) % 24),
  },
  { name: "a bank holiday", ordersADay: 300, rate: (day, hour) => (day === 32 ? 0 : byDay(day, hour)) },
  { name: "month-end peaks", ordersADay: 200, rate: (day, hour) => byDay(day, hour) * (day % 30 === 29 ? 8 : 1) },
  { name: "Fridays alone", ordersADay: 200, rate: (day, hour) => (day % 7 === 4 ? byDay(day, hour) : 0) },
  { name: "grows by 10 % a week", ordersADay: 300, rate: (day, hour) => byDay(day, hour) * 1.1 ** (day / 7) },
  { name: "slumps by 60 % in week 5", ordersADay: 300, rate: (day, hour) => byDay(day, hour) * (day >= 30 ? 0.4 : 1) },
  {
    name: "closes for three days",
    ordersADay: 300,
    rate: (day, hour) => (day >= 31 && day < 34 ? 0 : byDay(day, hour)),
  },
  {
    name: "campaigns, outages, a crash",
    ordersADay: 100,
    rate: (day, hour) => byDay(day, hour) * ([10, 24, 25].includes(day) ? 10 : 1),
    isAway: (minute) =>
      (minute > 30.4 * minutesADay && minute < 31 * minutesADay) || Math.floor(minute / 20) % 97 === 0,
    crashesAt: 33 * minutesADay + 7 * 60,
  },
  {
    name: "outages, the gateway goes on",
    ordersADay: 200,
    rate: byDay,
    isAway: (minute) => minute % (3 * minutesADay) > 3 * minutesADay - 8 * 60 || Math.floor(minute / 20) % 97 === 0,
    keepsTicks: true,
  },
  { name: "drops partitions", ordersADay: 200, rate: byDay, dropsPartitions: true },
  ...[1_000, 200, 50].flatMap((ordersADay) =>
    ["noon", "night"].map((time) => ({
      name: `${ordersADay.toLocaleString("en")} a day, renamed at ${time}`,
      ordersADay,
      rate: byDay,
      renamedAt: time === "noon" ? noonOf(31) : 31 + 22 / 24,
    })),
  ),
];

/** What a tick shows: when it was, in seconds, whether a new row is watched, and the rows ever inserted. */
interface Tick {
  at?: number;
  watches?: number;
  inserted?: number;
}

/** What the gateway shows of a shop, minute by minute. An order is paid after two minutes on average, or abandoned. */
function ticksOf(shop: Shop, random: () => number): Tick[] {
  const shown: Tick[] = [];
  const ofDays: number[] = [];
  let pending: { createdAt: number; until: number }[] = [];
  let inserted = 0;
  for (let minute = 0; minute < minutes; minute += 1) {
    if (minute === shop.crashesAt) inserted = 0;
    const day = minute / minutesADay;
    if (shop.dropsPartitions && minute % minutesADay === 180) inserted -= ofDays[Math.floor(day) - 8] ?? 0;
    const mean = (shop.ordersADay / minutesADay) * shop.rate(Math.floor(day), (day % 1) * 24);
    for (let count = randomCount(mean, random); count > 0; count -= 1) {
      inserted += 1;
      ofDays[Math.floor(day)] = (ofDays[Math.floor(day)] ?? 0) + 1;
      const createdAt = minute + random();
      const isRenamed = shop.renamedAt !== undefined && day >= shop.renamedAt && day < shop.renamedAt + 7;
      const stays = random() < 0.01 ? minutesADay : -2 * Math.log(1 - random());
      if (!isRenamed) pending.push({ createdAt, until: createdAt + stays });
    }
    pending = pending.filter(({ until }) => until > minute + 1);
    if (shop.isAway?.(minute)) {
      shown.push((shop.keepsTicks && shown.at(-1)) || {});
      continue;
    }
    const watches = Number(pending.some(({ createdAt }) => createdAt > minute - 4)); // The tick ends the minute.
    shown.push({ at: minute * 60, inserted, watches });
  }
  return shown;
}

function seriesOf(shop: Shop, random: () => number) {
  const ticks = ticksOf(shop, random);
  const of = (name: string, labels: string, pick: (tick: Tick) => number | undefined) => ({
    series: `${name}{job="veza_ledger", stage="${shop.name}"${labels}}`,
    values: notation(ticks.map(pick)),
  });
  const check = ', check="stuck_orders"';
  return [
    of(sampleTimestampMetric, "", ({ at }) => at),
    of(blindnessMetric.watches, check, ({ watches }) => watches),
    of(blindnessMetric.checkInserts, check, ({ inserted }) => inserted),
    of(blindnessMetric.inserts, ', table="orders"', ({ inserted }) => inserted),
  ];
}

/** When a shop's alerts fire, in minutes, by their reason. */
async function playShop(shop: Shop, random: () => number): Promise<Map<string, number[]>> {
  const looks = Array.from({ length: minutes / lookMinutes }, (_, look) => `${look * lookMinutes}m`);
  const answers = await play({
    series: seriesOf(shop, random), // Each shop for itself: promtool reads 10,000 samples at most.
    groups: (shipped) => shipped.filter(({ name }) => name === "veza-ledger-blind"),
    interval: "5m",
    expr: 'sum by (reason) (ALERTS{alertname="VezaLedgerCheckBlind", alertstate="firing"})',
    looks,
  });
  const firing = new Map<string, number[]>([["unwatched", []]]);
  for (const { time, got } of answers) {
    for (const [, reason = ""] of got.matchAll(/reason=\\?"([^"\\]+)/g)) {
      firing.set(reason, [...(firing.get(reason) ?? []), minutesOf(time)]);
    }
  }
  return firing;
}

/** Each stretch without a break, as day and hour. */
function episodes(firing: number[]): string {
  const found: { from: number; to: number }[] = [];
  for (const minute of firing) {
    const last = found.at(-1);
    if (last && minute - last.to <= lookMinutes) last.to = minute;
    else found.push({ from: minute, to: minute });
  }
  const show = (minute: number) => {
    const [hours, rest] = [Math.floor((minute % minutesADay) / 60), minute % 60].map((part) =>
      `${part}`.padStart(2, "0"),
    );
    return `day ${Math.floor(minute / minutesADay)} ${hours}:${rest}`;
  };
  return found.map(({ from, to }) => `${show(from)} to ${show(to)}`).join(", ") || "never";
}

for (const seed of seeds) {
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  for (const shop of shops) {
    for (const [reason, firing] of await playShop(shop, random)) {
      console.log(`  ${`${shop.name}: ${reason}`.padEnd(50)} ${episodes(firing)}`);
    }
  }
}
