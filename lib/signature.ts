import { createHmac, timingSafeEqual } from "node:crypto";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { maxBodyBytes, maxIdLength, toleranceSeconds } from "./limits.ts";
import { Refusal } from "./refusal.ts";

/** The three headers of a delivery, checked as far as that needs no secret. */
export type SignedHeaders = Record<"id" | "timestamp" | "signature", string>;

const notPlain = `webhook-id: must be 1 to ${maxIdLength} printable ASCII characters without spaces and full stops`;
const malformed = "webhook-signature: must be v1,<44 characters of base64>";
/** The reason of a refusal whose headers are well formed: no secret has made the signature. */
export const mismatch =
  "webhook-signature: does not match; did the body change after signing, or do the secrets differ?";

/**
 * Reads the three headers of a delivery. Each must be present, the timestamp at most 300 s from now, and one signature
 * well formed, so that a flood of unsigned requests never reads a secret. Throws a Refusal: 401.
 */
export function readSignedHeaders(headers: Record<string, unknown>): SignedHeaders {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature } = headers;
  if (!isText(id) || !isText(timestamp) || !isText(signature)) {
    throw new Refusal(401, "webhook-id, webhook-timestamp and webhook-signature are required");
  }
  // The package would read the leading digits and ignore the rest.
  if (!/^\d{1,12}$/.test(timestamp)) throw new Refusal(401, "webhook-timestamp: must be Unix time in seconds");
  if (Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp)) > toleranceSeconds) {
    throw new Refusal(401, "webhook-timestamp: must be within 300 s of now; sign each attempt anew");
  }
  if (!/(^| )v1,[A-Za-z0-9+/]{43}=( |$)/.test(signature)) throw new Refusal(401, malformed);
  return { id, timestamp, signature };
}

/**
 * Verifies a delivery by the rules of Standard Webhooks (https://www.standardwebhooks.com). One of the `v1` signatures
 * must be the HMAC-SHA256 of id, timestamp and body under one of the secrets, and the timestamp at most 300 s from now.
 * During a rotation both the old and the new secret are valid. Pass the body as it was received. Throws a Refusal: 401.
 */
export function verifySignature(headers: SignedHeaders, body: Buffer, secrets: readonly string[]): void {
  const isSigned = body.byteLength > maxBodyBytes ? isSignedLarge : isSignedBy;
  if (!secrets.some((secret) => isSigned(headers, body, secret))) throw new Refusal(401, mismatch);
}

function isSignedBy({ id, timestamp, signature }: SignedHeaders, body: Buffer, secret: string): boolean {
  const signed = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
  try {
    new Webhook(secret).verify(body.toString("utf8"), signed, { jsonParse: false });
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

/** The package copies a body several times. Strangers may send 6 MB, and a function has 256 MiB. */
function isSignedLarge({ id, timestamp, signature }: SignedHeaders, body: Buffer, secret: string): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const hmac = createHmac("sha256", key).update(`${id}.${Number(timestamp)}.`);
  const expected = Buffer.from(`v1,${hmac.update(body).digest("base64")}`);
  return signature.split(" ").some((given) => {
    const bytes = Buffer.from(given);
    return bytes.length === expected.length && timingSafeEqual(bytes, expected);
  });
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** Returns an id that is safe to log, without the full stop that ends it in the signed text. Throws a Refusal: 400. */
export function plainId(id: string): string {
  if (/^[!-~]+$/.test(id) && id.length <= maxIdLength && !id.includes(".")) return id;
  throw new Refusal(400, notPlain);
}
