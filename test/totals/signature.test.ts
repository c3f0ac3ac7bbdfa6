// Signatures by the rules of Standard Webhooks.

import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { expect, it, onTestFinished, vi } from "vitest";
import { readSignedHeaders, verifySignature } from "../../lib/totals/signature.ts";
import { newSecret } from "../helpers/receiver.ts";

const secret = newSecret();
const now = () => Math.floor(Date.now() / 1000);

/** By the reference implementation. */
const sign = (id: string, timestamp: number, body: string, key = secret) =>
  new Webhook(key).sign(id, new Date(timestamp * 1000), body);

const headersOf = (id: string, timestamp: number | string, signature: string) => ({
  "webhook-id": id,
  "webhook-timestamp": String(timestamp),
  "webhook-signature": signature,
});
const signed = (body: string, timestamp = now()) => headersOf("msg_1", timestamp, sign("msg_1", timestamp, body));

/** As the receiver does, with a look at the secrets only for headers that can be right. */
const verify = (headers: Record<string, string | undefined>, body: string, secrets: string[]) =>
  verifySignature(readSignedHeaders(headers), Buffer.from(body), secrets);

it("agrees with the reference implementation on any delivery", () => {
  const oracle = new Webhook(secret);
  const anyBody = fc.string({ unit: "binary" });
  const anyChange = fc.constantFrom("none", "id", "timestamp", "body", "signature", "secret", "version", "a zero more");
  const property = fc.property(fc.stringMatching(/^[!-~]{1,40}$/), anyBody, anyChange, (id, body, change) => {
    const timestamp = now();
    const is = (wanted: string) => change === wanted;
    const by = is("secret") ? new Webhook(newSecret()) : oracle;
    const signature = by
      .sign(id, new Date(timestamp * 1000), body)
      .replace(is("version") ? "v1" : "", is("version") ? "v2" : "");
    const headers = headersOf(
      is("id") ? `${id}x` : id,
      is("a zero more") ? `0${timestamp}` : timestamp + (is("timestamp") ? 1 : 0),
      is("signature")
        ? signature.replace(/,./, (start) => (start === ",A" ? ",B" : ",A"))
        : `v1,short ${signature} v2,later`,
    );
    const sent = is("body") ? `${body} ` : body;
    const isTaken = (check: () => unknown) => {
      try {
        check();
        return true;
      } catch {
        return false;
      }
    };
    const expected = isTaken(() => oracle.verify(sent, headers, { jsonParse: false }));
    expect(isTaken(() => verify(headers, sent, [newSecret(), secret, newSecret()]))).toBe(expected);
    expect(expected).toBe(is("none") || is("a zero more"));
  });
  fc.assert(property, { numRuns: 200 });
});

it("repeats nothing of a request in a refusal: the log keeps each text", () => {
  const refusalOf = (headers: Record<string, string>) => {
    try {
      verify(headers, "{}", [secret]);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };
  const { "webhook-signature": signature } = signed("{}");
  const alike = [
    [1, 2, 3].map((timestamp) => headersOf("a", timestamp, signature)),
    ["x", "y", "-1"].map((timestamp) => headersOf("a", timestamp, signature)),
    ["v1,a", "v1,b", "v2"].map((wrong) => headersOf("a", now(), wrong)),
    ["a", "b", "c"].map((id) => headersOf(id, now(), signature)),
    ["a", "b"].map((id) => headersOf(id, "", signature)),
  ];
  for (const requests of alike) {
    const [first, ...others] = new Set(requests.map(refusalOf));
    expect([first, others]).toEqual([expect.stringMatching(/^webhook-/), []]);
  }
});

it("takes a timestamp up to 300 s from now, and not 301 s", () => {
  vi.useFakeTimers({ toFake: ["Date"], now: new Date("2026-01-31T12:00:00.999Z") });
  onTestFinished(() => void vi.useRealTimers());
  const verifyAt = (seconds: number) => () => verify(signed("{}", now() + seconds), "{}", [secret]);
  for (const seconds of [-300, 0, 300]) verifyAt(seconds)();
  for (const seconds of [-301, 301]) {
    expect(verifyAt(seconds)).toThrow("webhook-timestamp: must be within 300 s of now");
  }
});

const timestamp = now();
const right = sign("msg_1", timestamp, "{}");
it.each([
  ["no headers", {}, "are required"],
  ["an empty id", headersOf("", timestamp, sign("", timestamp, "{}")), "are required"],
  ["a tampered body", signed("{ }"), "webhook-signature: does not match"],
  ["other versions", headersOf("msg_1", timestamp, `${right.replace("v1", "v2")} x${right}`), "must be v1,<"],
  ["a signature without version", headersOf("msg_1", timestamp, right.slice(3)), "must be v1,<"],
  ["a signature cut short", headersOf("msg_1", timestamp, right.slice(0, -1)), "must be v1,<"],
  ["a signature with something after it", headersOf("msg_1", timestamp, `${right}=`), "must be v1,<"],
  ["a timestamp that is no number", headersOf("msg_1", "soon", right), "webhook-timestamp: must be Unix time"],
  ["a number with something after it", headersOf("msg_1", `${timestamp}x`, right), "must be Unix time"],
])("refuses %s", (_, headers, reason) => {
  const verifying = () => verify(headers, "{}", [secret]);
  expect(verifying).toThrow(reason);
  expect(verifying).toThrow(expect.objectContaining({ status: 401 }));
});
