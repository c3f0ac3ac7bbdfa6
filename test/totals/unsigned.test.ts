// What is logged of requests that nobody has signed.

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Refusal } from "../../lib/totals/refusal.ts";
import { captureLog } from "../helpers/log.ts";

let logUnsigned: typeof import("../../lib/totals/unsigned.ts").logUnsigned;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  vi.resetModules(); // As new as in a process of its own.
  ({ logUnsigned } = await import("../../lib/totals/unsigned.ts"));
});
afterEach(() => void vi.useRealTimers());

const pass = (seconds: number) => vi.advanceTimersByTime(seconds * 1000);

it("writes one line for a reason and minute, whatever the flood", () => {
  const log = captureLog();
  const [bare, old] = [new Refusal(401, "webhook-id, …"), new Refusal(401, "webhook-timestamp: must be …")];
  for (let request = 0; request < 12_000; request += 1) {
    [bare, old].forEach(logUnsigned);
    pass(0.01);
  }
  expect(log).toHaveLength(4);
  expect(log.slice(0, 2)).toEqual([
    { level: "warn", message: "request refused", status: 401, error: "webhook-id, …" },
    { level: "warn", message: "request refused", status: 401, error: "webhook-timestamp: must be …" },
  ]);
});
