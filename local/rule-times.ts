/**
 * Where a time stands in rules or in a route: `for` also stands for `keep_firing_for`, and `interval` for all intervals
 * and waits. A `subquery` is the range of one, and `step` its step. A `number` of seconds is compared with a value.
 */
export type Place = "for" | "interval" | "range" | "subquery" | "step" | "offset" | "number";

const unitSeconds: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
/** By the text before a time. */
const places: Record<string, Place> = {
  "for: ": "for",
  "interval: ": "interval",
  "_wait: ": "interval",
  "offset ": "offset",
  "[": "range",
  ":": "step",
};

/**
 * Returns rules or a route (YAML) with other times, for a test or a demo that is in a hurry. `newSeconds` takes the
 * seconds of a time and its place, and returns the new seconds. The same seconds leave the text as it was.
 */
export function withTimes(yaml: string, newSeconds: (seconds: number, place: Place) => number): string {
  return (
    yaml
      .replaceAll(
        /(for: |interval: |_wait: |offset |\[|:)(\d+)([smhdw])\b(?=(.?))/g,
        (text, before: string, value: string, unit: string, next: string) => {
          const place = before === "[" && next === ":" ? "subquery" : (places[before] as Place);
          const seconds = Number(value) * (unitSeconds[unit] as number);
          const wanted = newSeconds(seconds, place);
          if (wanted === seconds) return text;
          return before + (Number.isInteger(wanted) ? `${wanted}s` : `${Math.round(wanted * 1_000)}ms`);
        },
      )
      // No number of rows in the rules is one of these.
      .replaceAll(/(?<=[<>] |\d \* )(?:180|300|600|86400)\b/g, (text) => String(newSeconds(Number(text), "number")))
  );
}
