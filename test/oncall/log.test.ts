import { expect, it } from "vitest";
import { linesIn, reasonsOf } from "../../commands/oncall/log.ts";

it("counts the reasons of a log, of the journal and of Lambda", () => {
  const failure = { level: "error", message: "check failed", check: "stuck_orders", reason: "no column" };
  const { level, ...message } = failure;
  const lines = linesIn(
    [
      `2026-01-31T12:00:00+0000 veza-ledger-metrics[1]: ${JSON.stringify(failure)}`,
      `2026-01-31T12:00:00 ${JSON.stringify({ timestamp: "x", level, message })}`,
      "-- Boot 1 --",
    ].join("\n"),
  );
  expect(lines.map(({ time, text }) => [time, text])).toEqual([
    ["2026-01-31T12:00:00+0000", 'check failed {"check":"stuck_orders","reason":"no column"}'],
    ["2026-01-31T12:00:00", 'check failed {"check":"stuck_orders","reason":"no column"}'],
    ["", "-- Boot 1 --"],
  ]);
  const away = { check: "x", code: "ECONNREFUSED", reason: "refused" };
  expect(reasonsOf([...lines.slice(0, 2).map(({ fields }) => fields), away])).toEqual([
    "1 times, of x: ECONNREFUSED refused",
    "2 times, of stuck_orders: no code no column",
    "THE SAMPLER DOES NOT REACH POSTGRES. Call the platform engineer now.",
  ]);
});
