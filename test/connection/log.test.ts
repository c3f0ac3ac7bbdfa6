// The form of a line in the log, and the reasons that it gives.

import { fstatSync } from "node:fs";
import { afterEach, expect, it, vi } from "vitest";
import { fetchFailure } from "../../lib/gateway/fetch-failure.ts";
import { errorFields } from "../../lib/log.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/** What the console is given for one line, by a module that is as new as in a process of its own. */
async function written(use: (log: typeof import("../../lib/log.ts")) => void): Promise<unknown[][]> {
  const seen = vi.spyOn(console, "warn").mockImplementation(() => {});
  vi.resetModules();
  use(await import("../../lib/log.ts"));
  return seen.mock.calls;
}

it("puts a priority before the line where stderr leads to the journal, and nowhere else", async () => {
  const { dev, ino } = fstatSync(2);
  const warn = () => written(({ log }) => log("warn", "totals not published", { reason: "gone" }));
  vi.stubEnv("JOURNAL_STREAM", `${dev}:${ino}1`);
  await warn();
  vi.stubEnv("JOURNAL_STREAM", `${dev}:${ino}`);
  expect(await warn()).toEqual([[expect.stringMatching(/^\{"level/)], [expect.stringMatching(/^<4>\{"level/)]]);
});

const coded = (error: Error, code: unknown) => Object.assign(error, { code });

it.each([
  ["a code and a message", coded(new Error("gone"), "ECONNRESET"), { code: "ECONNRESET", reason: "gone" }],
  ["a code alone", coded(new Error(), "ECONNRESET"), { code: "ECONNRESET", reason: "ECONNRESET" }],
  ["a code that is a number", coded(new Error("gone"), 7), { reason: "gone" }],
  ["nothing but a text", "gone", { reason: "gone" }],
])("names an error's fields when it has %s", (_, error, fields) => {
  expect(errorFields(error)).toEqual(fields);
});

const line = "error:0A00010B:SSL routines:tls_validate_record_header:wrong version number";
it.each([
  ["its cause", coded(new Error("no certificate"), "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"), "no certificate"],
  ["its cause's code, where that has no message", coded(new AggregateError([]), "ETIMEDOUT"), "ETIMEDOUT"],
  ["its own message, where it has no cause", undefined, "fetch failed"],
  ["no line of OpenSSL", coded(new Error(line), "ERR_SSL_WRONG_VERSION_NUMBER"), "the server does not speak TLS"],
  ["no other of its lines", coded(new Error(), "ERR_SSL_PACKET_LENGTH_TOO_LONG"), "the server does not speak TLS"],
])("says why a fetch failed by %s", (_, cause, reason) => {
  expect(fetchFailure(new TypeError("fetch failed", { cause }))).toBe(reason);
});
