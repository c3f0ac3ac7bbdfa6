// The times of rules and of a route: each is found in its place, and no other text changes.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { withTimes } from "../../local/rule-times.ts";

const ledger = await readFile("config/alertmanager/ledger.yml", "utf8");

it.each([
  ["for", "for: 2m"],
  ["for", "keep_firing_for: 2m"],
  ["interval", "interval: 2m"],
  ["interval", "group_wait: 2m"],
  ["interval", "repeat_interval: 2m"],
  ["range", "rate(rows_total[2m])"],
  ["subquery", "max_over_time(rows[2m:1s])"],
  ["step", "max_over_time(rows[1d:2m] offset 1h)"],
  ["offset", "rows offset 2m > 120"],
])("finds a time in the place %s: %s", (wanted, yaml) => {
  const changed = withTimes(yaml, (seconds, place) => (place === wanted && seconds === 120 ? 0.5 : seconds));
  expect(changed).toBe(yaml.replace("2m", "500ms"));
});

it.each([
  ["90s", 90],
  ["2m", 120],
  ["3h", 10_800],
  ["2d", 172_800],
  ["1w", 604_800],
])("reads %s as %i seconds", (time, seconds) => {
  expect(withTimes(`for: ${time}`, (read) => (read === seconds ? 1 : read))).toBe("for: 1s");
});

it.each(["time() - tick > 180", "tick - sweep > 2 * 300"])("finds a number of seconds: %s", (expr) => {
  const changed = withTimes(expr, (seconds, place) => (place === "number" ? seconds / 100 : seconds));
  expect(changed).toMatch(/ (1\.8|2 \* 3)$/);
});

it("takes no number of rows of the shipped rules for seconds", () => {
  const changed = withTimes(ledger, (seconds, place) => (place === "number" ? -1 : seconds));
  const wholeLines = changed.replaceAll(/\n +(?=[<>] )/g, " "); // A comparison may have a line of its own.
  const lines = wholeLines.split("\n").filter((line) => /[<>] (?:\d \* )?-1/.test(line));
  expect(lines.length).toBeGreaterThan(5);
  for (const line of lines) expect(line).toMatch(/time|age_seconds/);
});

it("changes no text where each time stays, and finds every time of the shipped rules", () => {
  expect(withTimes(ledger, (seconds) => seconds)).toBe(ledger);
  const expressions = withTimes(ledger, () => 0.001).replaceAll(
    /#.*|(summary|description): [\s\S]*?(?=\n +\w+_url:)/g,
    "",
  );
  expect(expressions.match(/\b\d+[smhdw]\b/g)).toBe(null);
});
