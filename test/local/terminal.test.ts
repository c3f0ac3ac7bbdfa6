// What npm start shows on a terminal: a line for each line of the log, in columns and colours, 80 columns wide.
import { stripVTControlCharacters } from "node:util";
import { beforeEach, expect, it, vi } from "vitest";
import type { CheckId } from "../../lib/checks.ts";
import type { Level, Line } from "../../lib/log.ts";
import { plainLine, terminalLine } from "../../local/terminal.ts";

const at = new Date(2026, 0, 31, 9, 5, 7);
const line = (level: Level, ...rest: Line) => terminalLine(at, level, ...rest);
const counts: Partial<Record<CheckId, number>> = {
  stuck_orders: 12,
  stuck_refunds: 0,
  failed_transfers: -1,
  orphan_refunds: 1,
  pending_reversals: 0,
};
const tick = { ...counts, duration_seconds: 0.0123 };

beforeEach(() => {
  vi.stubEnv("NO_COLOR", undefined);
  vi.stubEnv("FORCE_COLOR", "1");
  return () => vi.unstubAllEnvs();
});

it("shows a tick with counts above 0 in red and unknown ones in purple, or without colours", () => {
  const shown = line("info", "tick", tick);
  expect(shown).toContain(
    "  \u001b[31morders  12\u001b[39m  refunds   0  \u001b[35mtransfers   ?\u001b[39m  \u001b[31morphan   1\u001b[39m",
  );
  vi.stubEnv("FORCE_COLOR", undefined);
  vi.stubEnv("NO_COLOR", "1");
  expect(line("info", "tick", tick)).toBe(stripVTControlCharacters(shown));
});

it("shows what happens in columns", () => {
  const lines = [
    line("info", "tick", tick),
    line("info", "delivery", { id: "msg_1", status: "recorded", events: 1, published: true }),
    line("warn", "delivery refused", { id: "msg_1", status: 400, error: "the body is not JSON" }),
    line("warn", "request refused", { status: 405, error: "only POST is allowed" }),
    line("error", "check failed", { check: "stuck_orders", code: "42P01", reason: "no such table" }),
    line("error", "delivery not confirmed", { id: "msg_1", code: "ECONNREFUSED", reason: "refused" }),
    plainLine(at, "warn", "something new", { a: 1 }),
    line("info", "rows counted", { check: "stuck_orders", ids: ["1", "2"] }), // They would bury the ticks.
  ];
  expect(lines.map(stripVTControlCharacters)).toEqual([
    "09:05:07 tick  orders  12  refunds   0  transfers   ?  orphan   1  reversals   0",
    "09:05:07 delivery  recorded      1 event   published      msg_1",
    "09:05:07 refused  400 the body is not JSON msg_1",
    "09:05:07 refused  405 only POST is allowed",
    "09:05:07 unknown  stuck_orders no such table",
    "09:05:07 error  delivery not confirmed: refused id=msg_1 code=ECONNREFUSED",
    "09:05:07 warn  something new a=1",
    "",
  ]);
});
