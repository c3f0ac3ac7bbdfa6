// Whatever a caller sends: only documented answers, only signed and valid events counted, no secret given away.

import type { Context, LambdaFunctionURLEvent } from "aws-lambda";
import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { beforeEach, expect, inject, it, onTestFinished, vi } from "vitest";
import { handler } from "../../handlers/receiver.ts";
import { databaseForFile } from "../helpers/database.ts";
import { setEnvironment, withoutSettings } from "../helpers/environment.ts";
import { captureLog } from "../helpers/log.ts";
import { newSecret } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";

const secret = newSecret();
const orphan = { type: "reconciler.orphan_refund", timestamp: "2026-01-31T12:00:00Z" };
const database = await databaseForFile();
let reads: string[];
beforeEach(async () => {
  const settings = {
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: secret,
  };
  setEnvironment({ ...withoutSettings, STAGE: "hostile", SECRET_ID: "hostile" });
  ({ reads } = await fakeSecretsManager({ hostile: settings }));
});

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
const weighted = <T>(...choices: [weight: number, arbitrary: fc.Arbitrary<T>][]) =>
  fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })));

/** Texts that have broken parsers: NUL, lone surrogates, right-to-left marks, Object's own keys, large numbers. */
const nastyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  oneOf("\u0000", "\ud800", "\u202e\ufeff", "__proto__", "constructor", "toString", "1e999", "-0", "é\u0301", "𝕏", ""),
);
const nastyValue = fc.oneof(
  nastyText,
  fc.jsonValue({ maxDepth: 3 }),
  oneOf<unknown>(null, true, -1, 1e308, Number.MAX_SAFE_INTEGER, [], {}, [[]], { __proto__: null }),
);
const event = fc.record({
  type: oneOf("reconciler.action", "reconciler.orphan_refund", "reconciler.sweep"),
  timestamp: oneOf("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456789+05:30"),
  data: oneOf({ phase: "stuck_orders", duration_seconds: 1.5 }),
});
const almostEvent = fc
  .tuple(event, oneOf("type", "timestamp", "data", "__proto__", "extra"), nastyValue)
  .map(([good, field, value]) =>
    JSON.parse(`${JSON.stringify(good).slice(0, -1)},${JSON.stringify(field)}:${JSON.stringify(value)}}`),
  );
const json = (value: unknown) => JSON.stringify(value) ?? "";
const hugeText = oneOf(
  "[".repeat(100_000),
  `${'{"data":'.repeat(20_000)}1${"}".repeat(20_000)}`,
  json(Array(1_001).fill(orphan)),
  " ".repeat(256 * 1024 + 1),
  `{"type":"reconciler.sweep","timestamp":"2026-01-31T12:00:00Z","data":{"duration_seconds":${"9".repeat(4_000)}}}`,
);
const body = weighted(
  [3, fc.oneof(event, fc.array(event, { maxLength: 4 })).map(json)],
  [4, fc.oneof(almostEvent, fc.array(almostEvent, { maxLength: 3 })).map(json)],
  [2, nastyValue.map(json)],
  [2, fc.tuple(event, fc.nat(90)).map(([value, end]) => json(value).slice(0, end))],
  [2, nastyText],
  [2, hugeText],
);

const attempt = fc.record({
  method: weighted([9, oneOf("POST")], [1, oneOf("GET", "PUT", "", "post", "TRACE")]),
  id: weighted([4, fc.uuid()], [1, nastyText]),
  body,
  signed: fc.boolean(),
  clockSeconds: weighted([6, oneOf(0)], [1, oneOf(-1e6, 1e6, -310, 310, -1e12)]),
  signature: fc.oneof(nastyText, oneOf("v1,", "v1", "v2,AAAA", "v1,AAAA v1,BBBB", `v1,${"A".repeat(5_000)}`)),
  encoding: weighted([8, oneOf("plain")], [2, oneOf("base64", "wrong")], [1, oneOf("none")]),
  headers: fc.dictionary(
    oneOf("content-type", "content-encoding", "x-forwarded-for", "__proto__", "webhook-ID"),
    nastyText,
    { maxKeys: 2 },
  ),
});
/** Well formed, and made by no secret. */
const forged = fc.oneof(
  oneOf(`v1,${"A".repeat(43)}=`, `v1,${"A".repeat(43)}= v1,short`),
  fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => `v1,${Buffer.from(bytes).toString("base64")}`),
);

type Attempt = typeof attempt extends fc.Arbitrary<infer A> ? A : never;

/** The event that a function URL would hand over, and whether its signature is good. */
function eventOf(made: Attempt): { event: LambdaFunctionURLEvent; good: boolean } {
  const at = new Date(Date.now() + made.clockSeconds * 1000);
  const timestamp = String(Math.floor(at.getTime() / 1000));
  const signature = made.signed ? new Webhook(secret).sign(made.id, at, made.body) : made.signature;
  const isBase64Encoded = made.encoding !== "plain";
  const encoded: Record<string, unknown> = { base64: Buffer.from(made.body).toString("base64"), none: [made.body] };
  return {
    event: {
      requestContext: { http: { method: made.method } },
      headers: {
        ...made.headers,
        "webhook-id": made.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
      },
      body: encoded[made.encoding] ?? made.body,
      isBase64Encoded,
    } as unknown as LambdaFunctionURLEvent,
    good: made.signed && Math.abs(made.clockSeconds) <= 300,
  };
}

const call = async (made: LambdaFunctionURLEvent) =>
  (await handler(made, {} as Context, () => {})) as { statusCode: number; body: string };

/** Nothing of this may be in an answer or a log line. Of base64, + alone means something in a pattern. */
const key = secret.slice(6, 20).replaceAll("+", "\\+");
const others = ":receiver@|postgres://|insert into|ledger_metrics\\.|\\bat \\S+\\.(ts|js):|node_modules";
const givenAway = new RegExp(`${key}|${others}`, "i");

it("reads no secret for 300 malformed requests, and one for 300 forged ones", async () => {
  // The clock stands still: secrets are read again, and a reason is logged again, after seconds.
  vi.useFakeTimers({ toFake: ["Date", "performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const log = captureLog();
  const statuses = new Set<number>();
  const refuse = async (made: Attempt, signature = made.signature) => {
    const { statusCode, body } = await call(eventOf({ ...made, signed: false, signature }).event);
    expect(Object.keys(JSON.parse(body))).toEqual(["error"]);
    statuses.add(statusCode);
  };
  await fc.assert(
    fc.asyncProperty(attempt, (made) => refuse(made)),
    { numRuns: 300 },
  );
  for (const bare of [null, {}, { requestContext: { http: { method: "POST" } } }])
    statuses.add((await call(bare as never)).statusCode);
  expect(reads).toEqual([]);
  await fc.assert(fc.asyncProperty(attempt, forged, refuse), { numRuns: 300 });
  expect(reads).toEqual(["hostile"]);
  expect([...statuses].sort()).toEqual([400, 401, 405]);
  const reasons = log.map(({ error }) => error);
  expect(reasons).toEqual([...new Set(reasons)]); // Each once a minute.
  expect(reasons.length).toBeLessThan(10);
  for (const passed of [59_999, 1]) {
    expect(log).toHaveLength(reasons.length);
    vi.advanceTimersByTime(passed);
    await call({} as never);
  }
  expect(log.at(-1)).toEqual({ level: "warn", message: "request refused", status: 405, error: "only POST is allowed" });
  expect(log).toHaveLength(reasons.length + 1);
});

it("answers 1,000 generated requests as documented, and counts only what was signed and valid", async () => {
  const log = captureLog();
  const statuses: Record<number, number> = {};
  const counted = { deliveries: 0, orphans: 0, actions: 0, sweeps: 0 };
  const check = async (made: Attempt) => {
    const { event, good } = eventOf(made);
    const { statusCode, body } = await call(event);
    statuses[statusCode] = (statuses[statusCode] ?? 0) + 1;
    expect([200, 400, 401, 405, 409, 413]).toContain(statusCode);
    expect(body).not.toMatch(givenAway);
    const answer = JSON.parse(body);
    if (statusCode !== 200) {
      expect(Object.keys(answer)).toEqual(answer.stage ? ["error", "stage"] : ["error"]);
      if (answer.stage) expect([answer.stage, statusCode]).toEqual(["hostile", expect.not.toBeOneOf([401, 405])]);
      return;
    }
    expect(good).toBe(true);
    expect(made.method).toBe("POST");
    if (answer.status !== "recorded") return;
    counted.deliveries += 1;
    for (const { type } of [JSON.parse(made.body)].flat()) {
      if (type === "reconciler.orphan_refund") counted.orphans += 1;
      if (type === "reconciler.action") counted.actions += 1;
      if (type === "reconciler.sweep") counted.sweeps += 1;
    }
  };
  await fc.assert(fc.asyncProperty(attempt, check), { numRuns: 1_000 });

  expect(JSON.stringify(log)).not.toMatch(givenAway);
  for (const status of [200, 400, 401, 405, 413]) expect(statuses[status]).toBeGreaterThan(0);
  const [row] = await database.admin`
    select (select count(*) from ledger_metrics.deliveries)::int as deliveries,
      coalesce(sum(value) filter (where name = 'veza_reconciler_orphan_refunds_total'), 0)::int as orphans,
      coalesce(sum(value) filter (where name = 'veza_reconciler_actions_total'), 0)::int as actions,
      coalesce(sum(value) filter (where name = 'veza_reconciler_sweep_duration_seconds_count'), 0)::int as sweeps
    from ledger_metrics.totals`;
  expect(row).toEqual(counted);
});
