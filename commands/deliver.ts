import { Webhook } from "standardwebhooks";

/** Signs a delivery by the rules of Standard Webhooks, and returns its headers. */
export function signedHeaders(secret: string, id: string, at: Date, body: string): Record<string, string> {
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, at, body),
  };
}

/**
 * Signs a body, and posts it once. To retry, pass the same id and body again: each attempt has its own signature, and
 * the delivery counts once. Resolves to status and body of the answer; rejects without an answer within 20 s.
 */
export async function deliver(
  url: string,
  secret: string,
  id: string,
  body: string,
): Promise<{ status: number; answer: string }> {
  const response = await fetch(url, {
    method: "POST",
    headers: signedHeaders(secret, id, new Date(), body),
    body,
    signal: AbortSignal.timeout(20_000),
  });
  return { status: response.status, answer: await response.text() };
}
