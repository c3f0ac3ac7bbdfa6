import { stripVTControlCharacters } from "node:util";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { checks } from "../../lib/checks.ts";
import { legend, terminalLine } from "../../local/terminal.ts";

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
    "09:05:07 tick  orders  12  refunds   0  transfers   ?  orphan   1  reversals   0",
  );
  expect(shown).toContain(red("orders  12"));
  expect(shown).toContain("  refunds   0  ");
  expect(shown).toContain(purple("transfers   ?"));
});

describe("fits 80 columns:", () => {
  const id = "msg_5f1c2d3e-8b1a-4f0e-9d2c-0123456789ab";
  const widest = (text: string) => Math.max(...text.split("\n").map((part) => stripVTControlCharacters(part).length));

  it("a tick with three digits in each count", () => {
    const shown = line("info", "tick", Object.fromEntries(Object.keys(tick).map((id) => [id, 999])));
    expect(shown).not.toContain("\n");
    expect(widest(shown)).toBe(80);
    const ofAll = line("info", "tick", Object.fromEntries(checks.map(({ id }) => [id, 999])));
    expect(widest(ofAll)).toBeLessThanOrEqual(80);
  });

  it("a tick with more digits, which goes on in a second line", () => {
    const shown = stripVTControlCharacters(line("info", "tick", { ...tick, stuck_orders: 12_345 }));
    expect(shown).toBe("09:05:07 tick  orders 12345  refunds   0  transfers   ?  orphan   1\n           reversals   0");
  });

  it.each(["recorded", "duplicate"])("a %s delivery, whose id is cut", (status) => {
    const shown = line("info", "delivery", { id, status, events: 1000, published: false });
    expect(stripVTControlCharacters(shown)).toMatch(/ {2}not published {2}msg_5f1c2d3e-8b1a-4f0…$/);
    expect(widest(shown)).toBe(80);
  });

  it("a long reason, whole and by the word", () => {
    const reason = "could not write to file: No space left on device ".repeat(3).trim();
    const shown = line("error", "check failed", { check: "stuck_orders", code: "53100", reason });
    expect(widest(shown)).toBeLessThanOrEqual(80);
    expect(stripVTControlCharacters(shown).replaceAll(/\s+/g, " ")).toBe(`09:05:07 unknown stuck_orders ${reason}`);
  });

  it("what each count means, in the words of its metric", () => {
    const shown = stripVTControlCharacters(legend());
    expect(widest(shown)).toBeLessThanOrEqual(80);
    expect(shown).toMatch(/\norders +Orders pending for over 30 minutes although the payment provider\n/);
    for (const { help } of checks) expect(shown.replaceAll(/\s+/g, " ")).toContain(help.split(";")[0]);
  });
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
    { id: "msg_1", status: 400, error: "the body is not JSON" },
    "refused  400 the body is not JSON msg_1",
  ],
  ["warn", "request refused", { status: 405, error: "only POST is allowed" }, "refused  405 only POST is allowed"],
  [
    "error",
    "check failed",
    { check: "stuck_orders", code: "42P01", reason: "no such table" },
    "unknown  stuck_orders no such table",
  ],
  [
    "error",
    "tick failed",
    { code: "ECONNREFUSED", reason: "refused" },
    "error  tick failed: refused code=ECONNREFUSED",
  ],
  ["warn", "something new", { a: 1 }, "warn  something new a=1"],
] as const)("shows %s %j %j in columns", (level, message, fields, expected) => {
  expect(stripVTControlCharacters(line(level, message, fields))).toBe(`09:05:07 ${expected}`);
});
