// Settings in AWS Secrets Manager: when they are read, kept and read again, and what is said when they cannot be had.
import { randomUUID } from "node:crypto";
import type { Context, ScheduledEvent } from "aws-lambda";
import { afterEach, beforeEach, describe, expect, inject, it, onTestFinished, vi } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { handler as receiver } from "../../handlers/receiver.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { type KeptSecrets, keepSecrets } from "../../lib/settings/kept-secrets.ts";
import { loadSettings } from "../../lib/settings/settings.ts";
import { databaseForTest } from "../helpers/database.ts";
import { setEnvironment, withoutSettings } from "../helpers/environment.ts";
import { signedEvent } from "../helpers/lambda.ts";
import { captureLog } from "../helpers/log.ts";
import { forEachCheck } from "../helpers/models.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, tcpServer } from "../helpers/servers.ts";

/** A name that no earlier test has read. */
let app: string;
/** What keeps them. */
let secrets: KeptSecrets<Record<string, string | undefined>>;
beforeEach(() => {
  secrets = keepSecrets((texts) => texts, 1);
  app = `app-${randomUUID()}`;
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => vi.useRealTimers());

/** Lets the clock go on, which is stopped otherwise. */
const pass = (seconds: number) => vi.advanceTimersByTime(seconds * 1000);
const tick = () => sampler({} as ScheduledEvent, {} as Context, () => {});
/** An error after which the SDK does not retry by itself. */
const outage = { __type: "InvalidRequestException", message: "hunter2" };

it("reads several secrets, leaves no connection open, and keeps them for 5 minutes", async () => {
  const rds = `${app}-rds`;
  const texts = { [app]: { STAGE: "prod", port: 5432, password: "not this" }, [rds]: { password: "first" } };
  const { reads, sockets } = await fakeSecretsManager(texts);
  const read = (fresh = false) => secrets.read(`${app}, ${rds}`, fresh);
  expect(await read()).toEqual({ STAGE: "prod", port: "5432", password: "first" });
  expect(reads.toSorted()).toEqual([app, rds]);
  await expect.poll(() => [...sockets].filter(({ destroyed }) => !destroyed).length).toBe(0);
  texts[rds] = { password: "second" };
  pass(299);
  expect(await read()).toMatchObject({ password: "first" });
  pass(2);
  expect(await read()).toMatchObject({ password: "second" });
  texts[rds] = { password: "third" };
  expect(await read(true)).toMatchObject({ password: "third" });
  expect(reads).toHaveLength(6);
});

it("reads once for all that ask at the same time", async () => {
  const { reads } = await fakeSecretsManager({ [app]: { password: "first" } });
  const askAll = () => Promise.all(Array.from({ length: 50 }, (_, index) => secrets.read(app, index % 2 === 0)));
  await askAll();
  await askAll(); // Now that there are good ones.
  expect(reads).toEqual([app, app]);
});

it("gives as settings what the environment lacks; null is missing, as Terraform writes what has no value", async () => {
  const DATABASE_URL = "postgres://u:p@127.0.0.1:5432/ledger";
  const texts = { STAGE: "prod", PUSHGATEWAY_URL: "http://not-this-one", DATABASE_URL, CA_CERTIFICATES: null };
  await fakeSecretsManager({ [app]: texts });
  setEnvironment({ ...withoutSettings, PUSHGATEWAY_URL: "https://push.internal", SECRET_ID: app, STAGE: "" });
  expect(await loadSettings("sampler")).toMatchObject({
    database: { host: "127.0.0.1", username: "u" },
    pushgateway: { url: "https://push.internal" },
    stage: "prod",
  });
});

describe.each([
  ["has a malformed key", { DATABASE_URL: "hunter2" }],
  ["cannot be read", outage],
])("where a secret %s", (_, wrong) => {
  const right = (stage: string) => ({ DATABASE_URL: "postgres://u:p@h/d", PUSHGATEWAY_URL: "http://p", STAGE: stage });
  const broken = { ...right("broken"), ...wrong };
  it.each([
    ["the last good one stays in use", right("first"), { stage: "first" }],
    ["and there was none, it says so", undefined, expect.stringMatching(/^\w+:? (?!.*hunter2)/)],
  ])(
    "%s; it is read every 5 s, with a warning each time, and in use when it was corrected",
    async (_, first, meanwhile) => {
      const log = captureLog();
      const texts: Record<string, unknown> = { [app]: first };
      const fake = await fakeSecretsManager(texts);
      setEnvironment({ ...withoutSettings, SECRET_ID: app });
      const read = () => loadSettings("sampler").catch(({ message }) => message);
      if (first) await read();
      texts[app] = broken;
      fake.failure = wrong === outage ? outage : undefined;
      pass(301);
      for (const seconds of [0, 4, 1]) {
        pass(seconds);
        expect(await read()).toEqual(first ? expect.objectContaining(meanwhile) : meanwhile);
      }
      expect(fake.reads).toHaveLength(first ? 3 : 2);
      const message = "secrets not read again, the last ones stay in use";
      const kept = (age_seconds: number) => ({ level: "warn", message, age_seconds, reason: expect.any(String) });
      expect(log).toEqual(first ? [kept(301), kept(306)] : []);
      expect(JSON.stringify(log)).not.toContain("hunter2");
      fake.failure = undefined;
      texts[app] = right("second");
      pass(5);
      expect(await read()).toMatchObject({ stage: "second" });
    },
  );
});

it("takes no old ones for an answer when those were refused, and cannot be read again", async () => {
  captureLog();
  const fake = await fakeSecretsManager({ [app]: { password: "first" } });
  await secrets.read(app, false);
  fake.failure = outage;
  await expect(secrets.read(app, true)).rejects.toThrow("InvalidRequestException");
  await expect(secrets.read(app, true)).rejects.toThrow("InvalidRequestException");
  expect(fake.reads).toHaveLength(3);
  expect(await secrets.read(app, false)).toEqual({ password: "first" });
});

it("costs no tick in a rotation that changes the secret first, and Postgres later or before the tick", async () => {
  const log = captureLog();
  const database = await databaseForTest();
  const username = `rotating_${randomUUID().slice(0, 8)}`;
  await database.admin.unsafe(`create role ${username} login password 'old' in role veza_ledger_sampler`);
  onTestFinished(async () => void (await database.admin.unsafe(`drop role ${username}`)));
  const texts: Record<string, object> = {};
  const store = (password: string) => {
    const DATABASE_URL = database.samplerUrl.replace("veza_ledger_sampler:sampler", `${username}:${password}`);
    texts[app] = { DATABASE_URL, PUSHGATEWAY_URL: inject("pushgatewayUrl"), STAGE: "rotation" };
  };
  await fakeSecretsManager(texts);
  setEnvironment({ ...withoutSettings, SECRET_ID: app });
  store("old");
  await tick();
  store("new");
  pass(301);
  await tick();
  await database.admin.unsafe(`alter role ${username} password 'new'`);
  await tick();
  store("newest");
  await database.admin.unsafe(`alter role ${username} password 'newest'`);
  await tick();
  const ticks = log.filter(({ message }) => message === "tick");
  expect(ticks).toMatchObject(Array(4).fill(forEachCheck(() => 0)));
});

// Each place in which a function doubts its secret: a count, a push, a delivery, a publish and a signature that failed.
it.each([
  ["sampler", "LEDGER_SCHEMA", "elsewhere"],
  ["sampler", "PUSHGATEWAY_URL", "http://127.0.0.1:1"],
  ["receiver", "DATABASE_URL", "the sampler's"],
  ["receiver", "PUSHGATEWAY_URL", "http://127.0.0.1:1"],
  ["receiver", "WEBHOOK_SECRET", newSecret()],
])("10 s after a valid secret was mended, in which the %s had a wrong %s, all is right", async (name, key, wrong) => {
  captureLog();
  const { samplerUrl, receiverUrl } = await databaseForTest();
  const good = {
    DATABASE_URL: name === "sampler" ? samplerUrl : receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    STAGE: "mended",
  };
  const texts = { [app]: { ...good, [key]: wrong === "the sampler's" ? samplerUrl : wrong } };
  const fake = await fakeSecretsManager(texts);
  setEnvironment({ ...withoutSettings, SECRET_ID: app });
  const server = await serve(receiver, 0);
  onTestFinished(() => server.stop());
  const counts = () => Promise.resolve(tick()).catch((error) => error);
  const run = name === "sampler" ? counts : () => post(server.url, good.WEBHOOK_SECRET, "[]");
  const isRight = name === "sampler" ? forEachCheck(() => 0) : { status: 200, json: { published: true } };
  for (const _ of ["first", "second"]) expect(await run()).not.toMatchObject(isRight);
  const reads = fake.reads.length;
  expect(await run()).not.toMatchObject(isRight);
  if (key === "WEBHOOK_SECRET") expect(fake.reads).toHaveLength(reads); // A flood reads once in 5 s.
  texts[app] = good;
  pass(10);
  expect(await run()).toMatchObject(isRight);
});

it.each([
  [3, "answers", undefined],
  [2, "is unavailable", { __type: "InternalServiceError", message: "", status: 503 }],
])(
  "of %i secrets, a minute of forged requests makes at most 12 reads in all, while AWS %s",
  async (secretCount, _, failure) => {
    captureLog();
    const good = { DATABASE_URL: "postgres://u:p@h/d", PUSHGATEWAY_URL: "http://p", WEBHOOK_SECRET: newSecret() };
    const names = Array.from({ length: secretCount }, (_, index) => `${app}-${index}`);
    const fake = await fakeSecretsManager(Object.fromEntries(names.map((name) => [name, good])));
    fake.failure = failure;
    setEnvironment({ ...withoutSettings, SECRET_ID: names.join(",") });
    const forge = (id: string) => receiver(signedEvent(newSecret(), "[]", { id }) as never, {} as Context, () => {});
    const statusCode = failure ? 503 : 401;
    for (let second = 0; second < 60; second += 1) {
      for (const n of [1, 2, 3]) expect(await forge(`${second}-${n}`)).toMatchObject({ statusCode });
      pass(1);
    }
    // After a failure, the requests for the other secrets are ended, and may not have arrived.
    if (failure) expect(fake.reads.length).toBeLessThanOrEqual(12);
    else expect(fake.reads).toHaveLength(12);
  },
);

it("is read again when a clock is set back, and so is a secret that was replaced", async () => {
  vi.useRealTimers();
  vi.useFakeTimers({ toFake: ["Date", "performance"] });
  const texts = { [app]: { password: "first" } };
  await fakeSecretsManager(texts);
  expect(await secrets.read(app, false)).toEqual({ password: "first" });
  vi.setSystemTime(Date.now() - 3_600_000);
  texts[app] = { password: "second" };
  secrets.doubt();
  pass(5);
  expect(await secrets.read(app, false)).toEqual({ password: "second" });
});

describe("says what is wrong and what to do, and nothing of a secret, when", () => {
  const name = "AccessDeniedException";
  it.each<[string, { secret?: unknown; failure?: [name: string, message: string] }, string]>([
    ["it is not there", {}, "ResourceNotFoundException: no secret of this name in this account and region"],
    ["it is not JSON", { secret: "hunter2" }, "it is not a JSON object"],
    ["it is null", { secret: null }, "it is not a JSON object"],
    ["it is an array", { secret: ["hunter2"] }, "it is not a JSON object"],
    ["the role may not read it", { failure: [name, "User: KMS-reader may not"] }, `${name}, IAM: the role or its `],
    ["the role may not use its key", { failure: [name, "Access to KMS is denied"] }, `${name}, KMS: the role lacks `],
    ["the token is old", { failure: ["ExpiredTokenException", "hunter2"] }, "ExpiredTokenException"],
  ])("%s", async (_, { secret, failure: [type = "", message = ""] = [] }, cause) => {
    const fake = await fakeSecretsManager(secret === undefined ? {} : { [app]: secret });
    if (type) fake.failure = { __type: type, message };
    const error = await secrets.read(app, false).catch((reason: Error) => reason);
    expect(error).toMatchObject({ message: expect.stringContaining(`SECRET_ID: ${app} could not be read: ${cause}`) });
    expect(error).not.toMatchObject({ message: expect.stringContaining("hunter2") });
  });

  const dialled = vi.fn();
  it.each([
    ["nobody listens", () => closedPort, / \w*Error, ECONNREFUSED$/],
    ["the connection is reset", () => tcpServer((socket) => socket.resetAndDestroy()), / \w*Error, ECONNRESET$/],
    ["nothing comes for 2 s, and asks no more", () => tcpServer(dialled), / no answer within 2000 ms$/],
  ])("%s", async (_, listen, cause) => {
    await fakeSecretsManager({});
    setEnvironment({ AWS_ENDPOINT_URL: `http://127.0.0.1:${await listen()}` });
    for (const _ of ["first", "second"]) await expect(secrets.read(app, true)).rejects.toThrow(cause);
    expect(dialled.mock.calls.length).toBeLessThan(3); // What was given up has dialled no more.
  });

  it("no region is set", async () => {
    await fakeSecretsManager({});
    setEnvironment({ AWS_REGION: undefined, AWS_DEFAULT_REGION: undefined, AWS_CONFIG_FILE: "/nowhere" });
    await expect(secrets.read(app, false)).rejects.toThrow(/: no AWS region is set: set AWS_REGION$/);
  });
});
