import { createHmac, timingSafeEqual } from "node:crypto";
import { maxIdLength, toleranceSeconds } from "../limits.ts";
import { Refusal } from "./refusal.ts";

/** The three headers of a delivery, checked as far as that needs no secret. */
export interface SignedHeaders {
  id: string;
  timestamp: string;
  signature: string;
}

// No text of a refusal repeats what the request has: unsigned.ts logs each text once in a minute, and keeps it.
const notPlain = `webhook-id: must be 1 to ${maxIdLength} printable ASCII characters without spaces and full stops`;
const malformed = "webhook-signature: must be v1,<44 characters of base64>";
/**
 * How two refusals begin: of a request that seems to be signed for us, and whose secret or clock is wrong. An alarm
 * looks for these texts in the log: deploy/params.ts makes its pattern of them.
 */
export const mismatches = {
  secret: "webhook-signature: does not match",
  clock: "webhook-timestamp: must be within",
};
const mismatch = `${mismatches.secret}; did the body change after signing, or do the secrets differ?`;
const wrongTime = `${mismatches.clock} ${toleranceSeconds} s of now; sign each attempt anew`;

/**
 * Reads the three headers of a delivery. Each must be present, the timestamp at most 300 s from now, and one signature
 * well formed, so that a flood of unsigned requests never reads a secret. Throws a Refusal: 401.
 */
export function readSignedHeaders(headers: Record<string, unknown>): SignedHeaders {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature } = headers;
  if (!isText(id) || !isText(timestamp) || !isText(signature)) {
    throw new Refusal(401, "webhook-id, webhook-timestamp and webhook-signature are required");
  }
  if (!/(^| )v1,[A-Za-z0-9+/]{43}=( |$)/.test(signature)) throw new Refusal(401, malformed);
  if (!/^\d{1,12}$/.test(timestamp)) throw new Refusal(401, "webhook-timestamp: must be Unix time in seconds");
  if (Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp)) > toleranceSeconds) {
    throw new Refusal(401, wrongTime);
  }
  return { id, timestamp, signature };
}

/**
 * Verifies a delivery by the rules of Standard Webhooks (https://www.standardwebhooks.com): one of the `v1` signatures
 * must be the HMAC-SHA256 of id, timestamp and body under one of the secrets. During a rotation both the old and the
 * new secret are valid. Pass the bytes as they were received. Throws a Refusal: 401.
 */
export function verifySignature(headers: SignedHeaders, body: Buffer, secrets: readonly string[]): void {
  const given = headers.signature.split(" ").map((signature) => Buffer.from(signature));
  const isSignedBy = (secret: string) => {
    const expected = Buffer.from(sign(secret, headers, body));
    return given.some((bytes) => bytes.length === expected.length && timingSafeEqual(bytes, expected));
  };
  if (!secrets.some(isSignedBy)) throw new Refusal(401, mismatch);
}

/** The value of `webhook-signature`. The body is not copied: strangers may send 6 MB, and a function has 256 MiB. */
export function sign(secret: string, { id, timestamp }: Omit<SignedHeaders, "signature">, body: Buffer | string) {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  // The number, as Standard Webhooks' own libraries verify it: they parse the header first.
  return `v1,${createHmac("sha256", key)
    .update(`${id}.${Number(timestamp)}.`)
    .update(body)
    .digest("base64")}`;
}

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/**
 * Returns the id when it is safe to log, and has no full stop, which ends the id in the signed text. Throws a Refusal:
 * 400.
 */
export function plainId(id: string): string {
  if (/^[!-~]+$/.test(id) && id.length <= maxIdLength && !id.includes(".")) return id;
  throw new Refusal(400, notPlain);
}
