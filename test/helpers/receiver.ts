import { randomBytes, randomUUID } from "node:crypto";
import { signedHeaders } from "../../commands/deliver.ts";

export const newSecret = (bytes = 32) => `whsec_${randomBytes(bytes).toString("base64")}`;

export interface Answer {
  status: number;
  headers: Headers;
  json: Record<string, unknown>;
}

/** Posts a body with a signature of its own, by `secret` unless `headers` say otherwise. */
export async function post(
  url: string,
  secret: string,
  body: string,
  options: { id?: string; at?: Date; headers?: Record<string, string>; sent?: string | Buffer } = {},
): Promise<Answer> {
  const { id = `msg_${randomUUID()}`, at = new Date() } = options;
  const response = await fetch(url, {
    method: "POST",
    headers: { ...signedHeaders(secret, id, at, body), ...options.headers },
    body: options.sent ?? body,
  });
  return { status: response.status, headers: response.headers, json: JSON.parse(await response.text()) };
}
