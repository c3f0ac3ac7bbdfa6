import { Webhook } from "standardwebhooks";

/**
 * Signs a body as Standard Webhooks asks, and posts it once. A retry passes the same id again: each attempt is signed
 * anew, and counted once. Resolves to status and body of the answer.
 */
export async function deliver(
  url: string,
  secret: string,
  id: string,
  events: unknown,
): Promise<{ status: number; answer: string }> {
  const body = JSON.stringify(events);
  const now = new Date();
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
      "webhook-signature": new Webhook(secret).sign(id, now, body),
    },
    body,
    signal: AbortSignal.timeout(20_000),
  });
  return { status: response.status, answer: await response.text() };
}
