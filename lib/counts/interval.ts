// Intervals as people say them: `45 minutes`, `2 days`, `2 hours 10 minutes`.

const minutesOf = { day: 1_440, hour: 60, minute: 1 } as const;
type Unit = keyof typeof minutesOf;

/** An interval as it is declared: a number of one unit. */
export type Interval = `1 ${Unit}` | `${number} ${Unit}s`;

/** An interval in minutes; 0 without one. Throws where it is not understood. */
export function minutesIn(interval = "0 minutes"): number {
  const parts = [...interval.matchAll(/(\d+) (day|hour|minute)s?/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join(" ") !== interval) {
    throw new Error(`not understood: ${interval}. An interval is such as 45 minutes, or 2 days`);
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * minutesOf[unit as Unit], 0);
}

/** Minutes in words, the largest unit first. */
export function inWords(minutes: number): string {
  let rest = minutes;
  const parts = Object.entries(minutesOf).flatMap(([unit, length]) => {
    const count = Math.floor(rest / length);
    rest -= count * length;
    return count === 0 ? [] : [`${count} ${unit}${count === 1 ? "" : "s"}`];
  });
  return parts.join(" ") || "0 minutes";
}

/** SQL: an interval, without days: a day has 23 or 25 hours where clocks are changed. */
export function inSql(interval?: string): string {
  const minutes = minutesIn(interval);
  return minutes > 0 && minutes % 60 === 0 ? `interval '${minutes / 60} hours'` : `interval '${minutes} minutes'`;
}
