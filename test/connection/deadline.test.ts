// Deadlines: what gives up, and leaves no listener behind. test/aws/lambda.test.ts has what keeps a process alive.

import { getEventListeners } from "node:events";
import { expect, it } from "vitest";
import { orAbort, withAnyOf } from "../../lib/deadline.ts";

it("gives up with the first signal that aborts, or has aborted, and leaves no listener behind", async () => {
  const never = new Promise(() => {});
  const [first, second] = [new AbortController(), new AbortController()];
  const wait = (signals: AbortSignal[]) => withAnyOf(signals, (signal) => orAbort(never, signal));
  const waiting = wait([first.signal, second.signal]);
  second.abort(new Error("second"));
  await expect(waiting).rejects.toThrow("second");
  await expect(wait([first.signal, AbortSignal.abort(new Error("before"))])).rejects.toThrow("before");
  expect(getEventListeners(first.signal, "abort")).toEqual([]);
});
