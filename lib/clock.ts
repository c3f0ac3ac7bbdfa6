/** How far apart, in seconds, Postgres' clock and ours are at least, when it said `now` after `askedAtSeconds`. */
export const clockDifferenceSeconds = (now: number, askedAtSeconds: number): number =>
  Math.max(askedAtSeconds - now, now - Date.now() / 1000);
