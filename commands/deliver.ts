// Signs and posts a delivery to the receiver.
import { deadlineFor, withAnyOf } from "../lib/deadline.ts";
import { stageHeader } from "../lib/totals/another-stage.ts";
import { sign } from "../lib/totals/signature.ts";

/** To wait for an answer. A receiver takes at most 15 s: serverless.yml. */
export const answerTimeoutMs = 20_000;

/** Signs a delivery by the rules of Standard Webhooks, and returns its headers. */
export function signedHeaders(secret: string, id: string, at: Date, body: string | Buffer): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1000));
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": sign(secret, { id, timestamp }, body),
  };
}

/**
 * Signs a body, and posts it once. To retry, pass the same id and body again: each attempt has its own signature, and
 * the delivery counts once. A receiver of another stage than `stage` refuses it; without one, none does. Resolves to
 * status and body of the answer; rejects without an answer within 20 s, or when `stop` aborts.
 */
export async function deliver(
  url: string,
  secret: string,
  id: string,
  body: string,
  { stage, stop }: { stage?: string | undefined; stop?: AbortSignal } = {},
): Promise<{ status: number; answer: string }> {
  const headers = { ...signedHeaders(secret, id, new Date(), body), ...(stage && { [stageHeader]: stage }) };
  const signals = [deadlineFor("the receiver", answerTimeoutMs), ...(stop ? [stop] : [])];
  return withAnyOf(signals, async (signal) => {
    const response = await fetch(url, { method: "POST", headers, body, signal });
    return { status: response.status, answer: await response.text() };
  });
}
