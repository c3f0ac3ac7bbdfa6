// Calls the sampler once a minute, in the place of a schedule on AWS.
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "aws-lambda";
import { handler as sampler } from "../handlers/sampler.ts";
import { errorFields, log } from "../lib/log.ts";

/**
 * Ticks now, and then every `everySeconds`, until `stop` aborts; a tick that takes longer delays the next. A tick that
 * fails is a line of the log. Calls `onEnd` after each, and resolves when the last has ended.
 */
export async function keepTicking(everySeconds: number, stop: AbortSignal, onEnd = () => {}): Promise<void> {
  while (!stop.aborted) {
    const startedAtMs = performance.now();
    // Lambda's own log would have such a line.
    await Promise.resolve(sampler({}, {} as Context, () => {})).catch((error) =>
      log("error", "tick failed", errorFields(error)),
    );
    onEnd();
    const pauseMs = Math.max(0, startedAtMs + everySeconds * 1000 - performance.now());
    await sleep(pauseMs, undefined, { signal: stop }).catch(() => {});
  }
}
