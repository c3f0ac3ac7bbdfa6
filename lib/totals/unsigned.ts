import { log } from "../log.ts";
import type { Refusal } from "./refusal.ts";

const quietMs = 60_000;
/** When each reason was logged last, on the monotonic clock. No reason repeats the request, so that there are few. */
const loggedAtMs = new Map<string, number>();

/**
 * Logs a request that nobody has signed: one line for a reason and minute, so that a flood costs next to nothing. An
 * alarm knows two of the reasons: `mismatches` in signature.ts.
 */
export function logUnsigned({ status, message }: Refusal): void {
  const nowMs = performance.now();
  if (nowMs - (loggedAtMs.get(message) ?? -Infinity) < quietMs) return;
  loggedAtMs.set(message, nowMs);
  log("warn", "request refused", { status, error: message });
}
