// Ticks of a process without AWS: one after the other, also after a tick that fails.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished, vi } from "vitest";
import { keepTicking } from "../../commands/ticks.ts";
import { writeLogWith } from "../../lib/log.ts";

const tick = vi.hoisted(() => vi.fn());
vi.mock("../../handlers/sampler.ts", () => ({ handler: tick }));

it("goes on after a tick that fails, never has two at once, and ends with the tick that is under way", async () => {
  const logged: unknown[] = [];
  writeLogWith((...line) => logged.push(line));
  let atOnce = 0;
  let most = 0;
  let ended = 0;
  const stop = new AbortController();
  tick.mockImplementation(async () => {
    atOnce += 1;
    most = Math.max(most, atOnce);
    await sleep(30); // Longer than from one tick to the next.
    atOnce -= 1;
    if (tick.mock.calls.length === 1) throw new Error("no gateway");
    if (tick.mock.calls.length === 3) stop.abort();
    await sleep(30);
  });
  await keepTicking(0.01, stop.signal, () => {
    ended += 1;
  });
  expect([tick.mock.calls.length, ended, most, atOnce]).toEqual([3, 3, 1, 0]);
  expect(logged).toEqual([["error", "tick failed", { reason: "no gateway" }]]);
});

it("ticks on time when the clock is set back by an hour", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  tick.mockReset().mockImplementation(async () => {
    vi.setSystemTime(Date.now() - 3_600_000);
    if (tick.mock.calls.length === 2) stop.abort();
  });
  const ticking = keepTicking(0.01, stop.signal).then(() => "two ticks");
  expect(await Promise.race([ticking, sleep(10_000, "one tick, and a wait of an hour")])).toBe("two ticks");
});

it("ends at once between two ticks", async () => {
  tick.mockReset().mockResolvedValue({});
  const stop = new AbortController();
  await keepTicking(600, stop.signal, () => void setImmediate(() => stop.abort()));
  expect(tick).toHaveBeenCalledTimes(1);
});
