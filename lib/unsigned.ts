import { log } from "./log.ts";
import type { Refusal } from "./refusal.ts";
import { mismatch } from "./signature.ts";

const quietMs = 60_000;
/** When each reason was logged last, in Unix milliseconds. No reason repeats the request, so that there are few. */
const loggedAtMs = new Map<string, number>();
/** Time of the first mismatch after the last match, in Unix milliseconds. */
let unmatchedSinceMs: number | undefined;

/**
 * Logs a request that nobody has signed: one line for a reason and minute, so that a flood costs next to nothing. An
 * alarm in serverless.yml looks at `unmatched_seconds`: for how long no signature has matched in this process.
 */
export function logUnsigned({ status, message }: Refusal): void {
  const nowMs = Date.now();
  const isMismatch = message === mismatch;
  if (isMismatch) unmatchedSinceMs ??= nowMs;
  if (nowMs - (loggedAtMs.get(message) ?? 0) < quietMs) return;
  loggedAtMs.set(message, nowMs);
  const unmatched_seconds = Math.round((nowMs - (unmatchedSinceMs ?? nowMs)) / 1000);
  log("warn", "request refused", { status, error: message, ...(isMismatch && { unmatched_seconds }) });
}

/** Notes that a signature has matched: sender and receiver have a secret in common. */
export function noteMatch(): void {
  unmatchedSinceMs = undefined;
}
