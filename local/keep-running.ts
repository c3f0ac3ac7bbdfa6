import { setTimeout as sleep } from "node:timers/promises";
import { errorFields } from "../lib/log.ts";
import { say } from "./terminal.ts";

/** A program that runs in the background. */
interface Part {
  exited: Promise<void>;
  stop(): Promise<unknown>;
}

/**
 * Starts a program, and starts it again after a pause when it has ended. The log says so, by `name`. Resolves when it
 * runs first, to what stops it for good. Rejects as the first `start` does.
 */
export async function keepRunning<P extends Part>(
  name: string,
  pauseSeconds: number,
  start: () => Promise<P>,
): Promise<{ first: P; stop(): Promise<void> }> {
  const first = await start();
  let running: Part = first;
  const stopping = new AbortController();
  const keep = async () => {
    for (;;) {
      await running.exited;
      if (stopping.signal.aborted) return;
      say("warn", `${name} has ended, and starts again in ${pauseSeconds} s`);
      await sleep(pauseSeconds * 1000, undefined, { signal: stopping.signal });
      running = await start();
      say("info", `${name} runs again`);
    }
  };
  const keeping = keep().catch((error) => {
    if (!stopping.signal.aborted) say("error", `${name} does not start again`, errorFields(error));
  });
  return {
    first,
    async stop() {
      stopping.abort();
      await running.stop();
      await keeping;
      await running.stop(); // It may have been starting.
    },
  };
}
