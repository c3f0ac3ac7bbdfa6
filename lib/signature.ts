import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { Refusal } from "./refusal.ts";

/** The three headers of a delivery, checked as far as possible without the secret. */
export interface SignedHeaders {
  id: string;
  timestamp: string;
  signature: string;
}

const toleranceSeconds = 300;
const mismatch = "webhook-signature: does not match; was the body changed after signing, or is the secret another one?";

/**
 * Takes a delivery's three headers when they can be those of a valid one: each is there, the timestamp is within 300 s of now,
 * either way, and one signature has the form of one. For others, no secret need be read. Throws a Refusal: 401.
 */
export function readSignedHeaders(headers: Record<string, unknown>): SignedHeaders {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature } = headers;
  if (!isText(id) || !isText(timestamp) || !isText(signature)) {
    throw new Refusal(401, "webhook-id, webhook-timestamp and webhook-signature are required");
  }
  // The package reads a number from the start of the text and ignores what follows.
  if (!/^\d{1,12}$/.test(timestamp)) throw new Refusal(401, "webhook-timestamp: must be Unix time in seconds");
  if (Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp)) > toleranceSeconds) {
    throw new Refusal(401, "webhook-timestamp: must be within 300 s of now; sign each attempt anew");
  }
  if (!/(^| )v1,[A-Za-z0-9+/]{43}=( |$)/.test(signature)) throw new Refusal(401, mismatch);
  return { id, timestamp, signature };
}

/**
 * Verifies a delivery by Standard Webhooks' rules (https://www.standardwebhooks.com): one of the `v1` signatures has to
 * be the HMAC-SHA256 of id, timestamp and body under one of the secrets, and the timestamp within 300 s of now, either
 * way. Several secrets are valid side by side while one replaces the other. The body has to be the text as it was
 * received, before any parsing.
 *
 * Returns the delivery's id. Throws a Refusal: 401, or 400 for an id of another form.
 */
export function verifySignature(
  { id, timestamp, signature }: SignedHeaders,
  body: string,
  secrets: readonly string[],
): string {
  const signed = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
  for (const secret of secrets) {
    try {
      new Webhook(secret).verify(body, signed, { jsonParse: false });
      return plainId(id);
    } catch (error) {
      if (!(error instanceof WebhookVerificationError)) throw error;
    }
  }
  throw new Refusal(401, mismatch);
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** Longest delivery id, in characters. */
export const maxIdLength = 256;

/** A full stop would make it unclear where the id ends in the signed text. */
function plainId(id: string): string {
  if (/^[!-~]+$/.test(id) && id.length <= maxIdLength && !id.includes(".")) return id;
  throw new Refusal(
    400,
    `webhook-id: must be 1 to ${maxIdLength} printable ASCII characters without spaces and full stops`,
  );
}
