import { randomBytes, randomUUID } from "node:crypto";
import { inject } from "vitest";
import { signedHeaders } from "../../commands/deliver.ts";
import { withoutSettings } from "./environment.ts";
import { type Program, runScript } from "./processes.ts";

export const newSecret = (bytes = 32) => `whsec_${randomBytes(bytes).toString("base64")}`;

/** Starts the real receiver in a process of its own, on the tests' gateway unless `settings` say otherwise. */
export async function startReceiver(settings: Record<string, string>): Promise<{ program: Program; url: string }> {
  const all = { ...withoutSettings, PUSHGATEWAY_URL: inject("pushgatewayUrl"), ...settings };
  const program = runScript("test/programs/receiver.ts", [], all);
  return { program, url: await program.printed(/receiver (\S+)/) };
}

export interface Answer {
  status: number;
  headers: Headers;
  json: Record<string, unknown>;
}

/** Posts a body with a signature of its own, by `secret` unless `headers` say otherwise. */
export async function post(
  url: string,
  secret: string,
  body: string | Buffer,
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
