// The times of rules and of a route: each is found in its place, and no other text changes.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { withTimes } from "../../local/rule-times.ts";

const ledger = await readFile("config/alertmanager/ledger.yml", "utf8");

it.each([
  ["for", 120, "for: 2m"],
  ["for", 90, "keep_firing_for: 90s"],
  ["interval", 120, "interval: 2m"],
  ["interval", 10_800, "group_wait: 3h"],
  ["interval", 172_800, "repeat_interval: 2d"],
  ["range", 120, "rate(rows_total[2m])"],
  ["subquery", 604_800, "max_over_time(rows[1w:1s])"],
  ["step", 120, "max_over_time(rows[1d:2m] offset 1h)"],
  ["offset", 120, "rows offset 2m > 120"],
])("finds a time in the place %s, of %i s: %s", (wanted, wantedSeconds, yaml) => {
  const changed = withTimes(yaml, (seconds, place) => (place === wanted && seconds === wantedSeconds ? 0.5 : seconds));
  expect(changed).toBe(yaml.replace(/\b(2m|90s|3h|2d|1w)\b/, "500ms"));
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
