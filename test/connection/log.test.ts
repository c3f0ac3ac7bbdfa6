// The form of a line in the log, and the reasons that it gives.

import { afterEach, expect, it, vi } from "vitest";
import { errorFields, fetchFailure } from "../../lib/log.ts";

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

it("writes JSON text, with the level, for whoever reads a stream", async () => {
  vi.stubEnv("AWS_LAMBDA_LOG_FORMAT", "");
  expect(await written(({ log }) => log("warn", "slow", { ms: 7 }))).toEqual([
    ['{"level":"warn","message":"slow","ms":7}'],
  ]);
});

it("hands Lambda's JSON format the object itself", async () => {
  vi.stubEnv("AWS_LAMBDA_LOG_FORMAT", "JSON");
  expect(await written(({ log }) => log("warn", "slow", { ms: 7 }))).toEqual([[{ message: "slow", ms: 7 }]]);
});

it("writes in another way once it is told to", async () => {
  const lines: unknown[][] = [];
  const atConsole = await written(({ log, writeLogWith }) => {
    writeLogWith((...line) => lines.push(line));
    log("warn", "slow", { ms: 7 });
    log("info", "tick");
  });
  expect(atConsole).toEqual([]);
  expect(lines).toEqual([
    ["warn", "slow", { ms: 7 }],
    ["info", "tick", {}],
  ]);
});

it.each([
  [
    "a code and a message",
    Object.assign(new Error("gone"), { code: "ECONNRESET" }),
    { code: "ECONNRESET", reason: "gone" },
  ],
  ["a code alone", Object.assign(new Error(), { code: "ECONNRESET" }), { code: "ECONNRESET", reason: "ECONNRESET" }],
  ["a code that is a number", Object.assign(new Error("gone"), { code: 7 }), { reason: "gone" }],
  ["nothing but a text", "gone", { reason: "gone" }],
])("names an error's fields when it has %s", (_, error, fields) => {
  expect(errorFields(error)).toEqual(fields);
});

it.each([
  ["its cause", new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED") }), "connect ECONNREFUSED"],
  [
    "its cause's code, where that has no message",
    new TypeError("fetch failed", { cause: Object.assign(new AggregateError([]), { code: "ETIMEDOUT" }) }),
    "ETIMEDOUT",
  ],
  ["its own message, where it has no cause", new Error("the answer is too long"), "the answer is too long"],
])("says why a fetch failed by %s", (_, error, reason) => {
  expect(fetchFailure(error)).toBe(reason);
});

it("says of a server without TLS what it is, and not a line of OpenSSL's source", () => {
  const cause = Object.assign(
    new Error("error:0A00010B:SSL routines:tls_validate_record_header:wrong version number"),
    {
      code: "ERR_SSL_WRONG_VERSION_NUMBER",
    },
  );
  expect(fetchFailure(new TypeError("fetch failed", { cause }))).toBe("the server does not speak TLS");
});
