import { stripVTControlCharacters } from "node:util";
import { beforeEach, expect, it, vi } from "vitest";
import { terminalLine } from "../local/terminal.ts";

const at = new Date(2026, 0, 31, 9, 5, 7);
const line = (...args: [level: "info" | "warn" | "error", message: string, fields: Record<string, unknown>]) =>
  terminalLine(at, ...args);
const red = (text: string) => `\u001b[31m${text}\u001b[39m`;
const purple = (text: string) => `\u001b[35m${text}\u001b[39m`;
const tick = { stuck_orders: 12, stuck_refunds: 0, failed_transfers: -1, orphan_refunds: 1, pending_reversals: 0 };

beforeEach(() => {
  vi.stubEnv("NO_COLOR", undefined);
  vi.stubEnv("FORCE_COLOR", "1");
  return () => vi.unstubAllEnvs();
});

it("shows a tick with counts above 0 in red and unknown ones in purple", () => {
  const shown = line("info", "tick", { ...tick, duration_seconds: 0.0123 });
  expect(stripVTControlCharacters(shown)).toBe(
    "09:05:07  tick      orders   12  refunds    0  transfers    ?  orphan    1  reversals    0  12 ms",
  );
  expect(shown).toContain(red("orders   12"));
  expect(shown).toContain("  refunds    0  ");
  expect(shown).toContain(purple("transfers    ?"));
});

it("honours NO_COLOR", () => {
  vi.stubEnv("FORCE_COLOR", undefined);
  vi.stubEnv("NO_COLOR", "1");
  const shown = line("info", "tick", { ...tick, duration_seconds: 0.0123 });
  expect(shown).toBe(stripVTControlCharacters(shown));
});

it.each([
  [
    "info",
    "delivery",
    { id: "msg_1", status: "recorded", events: 1, published: true },
    "delivery  recorded      1 event   published      msg_1",
  ],
  [
    "info",
    "delivery",
    { id: "msg_1", status: "duplicate", events: 12, published: false },
    "delivery  duplicate    12 events  not published  msg_1",
  ],
  [
    "warn",
    "delivery refused",
    { id: "msg_1", status: 401, error: "webhook-signature: does not match" },
    "refused   401  webhook-signature: does not match  msg_1",
  ],
  [
    "warn",
    "delivery refused",
    { id: undefined, status: 405, error: "only POST is allowed" },
    "refused   405  only POST is allowed",
  ],
  [
    "error",
    "check failed",
    { check: "stuck_orders", code: "42P01", reason: "no such table" },
    "unknown   stuck_orders  no such table",
  ],
  [
    "error",
    "tick failed",
    { code: "ECONNREFUSED", reason: "refused" },
    "error     tick failed: refused  code=ECONNREFUSED",
  ],
  ["warn", "something new", { a: 1 }, "warn      something new  a=1"],
] as const)("shows %s %j %j in columns", (level, message, fields, expected) => {
  expect(stripVTControlCharacters(line(level, message, fields))).toBe(`09:05:07  ${expected}`);
});
