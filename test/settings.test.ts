import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadSettings, parseSettings, SettingsError } from "../lib/settings.ts";
import { setEnvironment } from "./helpers/environment.ts";
import { newSecret } from "./helpers/receiver.ts";
import { fakeSecretsManager } from "./helpers/secrets.ts";
import { tcpServer } from "./helpers/servers.ts";

const secret = newSecret();
const good = {
  DATABASE_URL: "postgres://user:hunter2@db.internal:6432/ledger",
  PUSHGATEWAY_URL: "https://push.internal/prefix/",
  WEBHOOK_SECRET: secret,
};
const parse = (changes: Record<string, string | undefined>, role: "sampler" | "receiver" = "receiver") =>
  parseSettings({ ...good, ...changes }, role);

it("reads the five settings", () => {
  expect(parse({ STAGE: "prod-eu_1", PUSHGATEWAY_TOKEN: "token" })).toEqual({
    database: {
      host: "db.internal",
      port: 6432,
      database: "ledger",
      username: "user",
      password: "hunter2",
      tls: "verified",
    },
    pushgateway: { url: "https://push.internal/prefix", authorization: "Bearer token" },
    webhookSecrets: [secret],
    stage: "prod-eu_1",
  });
});

it("asks the sampler for no webhook secret", () => {
  expect(parse({ WEBHOOK_SECRET: undefined }, "sampler").webhookSecrets).toEqual([]);
});

it("takes several webhook secrets, separated by spaces", () => {
  const other = newSecret(24);
  expect(parse({ WEBHOOK_SECRET: ` ${secret}  ${other}\n` }).webhookSecrets).toEqual([secret, other]);
});

it.each([
  ["postgres://u:p@db.internal/l", "verified"],
  ["postgres://u:p@db.internal/l?sslmode=verify-full", "verified"],
  ["postgres://u:p@127.0.0.1/l?sslmode=verify-ca", "verified"],
  ["postgresql://u:p@db.internal/l?sslmode=require", "unverified"],
  ["postgres://u:p@db.internal/l?sslmode=disable", "off"],
  ["postgres://u:p@localhost/l", "off"],
  ["postgres://u:p@127.0.0.1/l", "off"],
  ["postgres://u:p@[::1]/l", "off"],
  ["postgres://u:p@localhost.example.com/l", "verified"],
])("%s: TLS %s", (url, tls) => {
  expect(parse({ DATABASE_URL: url }).database.tls).toBe(tls);
});

it("decodes user, password and database, and knows the default port", () => {
  expect(parse({ DATABASE_URL: "postgres://us%40er:p%2Fss%25@db/my%20db" }).database).toMatchObject({
    username: "us@er",
    password: "p/ss%",
    database: "my db",
    port: 5432,
  });
});

it("takes a % that is not the start of an escape for itself", () => {
  expect(parse({ DATABASE_URL: "postgres://%ff:100%x@db/d" }).database).toMatchObject({ password: "100%x" });
});

it("builds the database from an RDS secret's keys, TLS verified", () => {
  const rds = { host: "db.rds", port: "5433", username: "u", password: "p@/:", dbname: "ledger", engine: "postgres" };
  expect(parse({ ...rds, DATABASE_URL: undefined }).database).toEqual({
    host: "db.rds",
    port: 5433,
    username: "u",
    password: "p@/:",
    database: "ledger",
    tls: "verified",
  });
});

describe("names what is wrong, and no value:", () => {
  it.each([
    ["a missing database", { DATABASE_URL: undefined }, "DATABASE_URL is missing"],
    ["another protocol", { DATABASE_URL: "mysql://u:hunter2@h/d" }, "DATABASE_URL must be like postgres://"],
    ["several hosts", { DATABASE_URL: "postgres://u:hunter2@a:1,b:2/d" }, "DATABASE_URL must be like postgres://"],
    ["no user", { DATABASE_URL: "postgres://hunter2/d" }, "DATABASE_URL must be like postgres://"],
    ["no database", { DATABASE_URL: "postgres://u:hunter2@h/" }, "DATABASE_URL must be like postgres://"],
    ["no host", { DATABASE_URL: "postgres:///hunter2" }, "DATABASE_URL must be like postgres://"],
    ["another parameter", { DATABASE_URL: "postgres://u:p@h/d?hunter2=1" }, "DATABASE_URL: the only parameter may"],
    [
      "an unknown sslmode",
      { DATABASE_URL: "postgres://u:hunter2@h/d?sslmode=prefer" },
      "DATABASE_URL: sslmode must be",
    ],
    [
      "half an RDS secret",
      { DATABASE_URL: undefined, host: "hunter2" },
      "DATABASE_URL is missing, and username, password, dbname in the secret",
    ],
    ["no gateway", { PUSHGATEWAY_URL: undefined }, "PUSHGATEWAY_URL is missing"],
    ["a gateway without scheme", { PUSHGATEWAY_URL: "hunter2:9091" }, "PUSHGATEWAY_URL must be an http or https URL"],
    ["a gateway with a query", { PUSHGATEWAY_URL: "http://h?hunter2" }, "PUSHGATEWAY_URL must not have a query"],
    ["two kinds of auth", { PUSHGATEWAY_URL: "http://u:hunter2@h", PUSHGATEWAY_TOKEN: "t" }, "exclude each other"],
    ["a token with a line break", { PUSHGATEWAY_TOKEN: "hunter2\n" }, "PUSHGATEWAY_TOKEN must be printable ASCII"],
    ["no webhook secret", { WEBHOOK_SECRET: " " }, "WEBHOOK_SECRET is missing"],
    ["a webhook secret without prefix", { WEBHOOK_SECRET: "hunter2hunter2hunter2hunter2" }, "WEBHOOK_SECRET must be"],
    [
      "a short webhook secret",
      { WEBHOOK_SECRET: "whsec_hunter2=" },
      "WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes",
    ],
    ["an empty webhook secret", { WEBHOOK_SECRET: "whsec_" }, "WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes"],
    ["a bad one beside a good one", { WEBHOOK_SECRET: `${secret} whsec_hunter2` }, "WEBHOOK_SECRET must be whsec_"],
    ["a stage with a slash", { STAGE: "hunter2/" }, "STAGE may hold letters"],
  ])("%s", (_, changes, message) => {
    const refused = () => parse(changes);
    expect(refused).toThrow(SettingsError);
    expect(refused).toThrow(message);
    expect(refused).not.toThrow("hunter2");
  });

  it("everything at once", () => {
    expect(() => parseSettings({}, "receiver")).toThrow(
      "DATABASE_URL is missing; PUSHGATEWAY_URL is missing; WEBHOOK_SECRET is missing",
    );
  });
});

describe("from Secrets Manager", () => {
  beforeEach(() => setEnvironment({ ...good, DATABASE_URL: undefined, SECRET_ID: "app, rds" }));
  afterEach(() => vi.useRealTimers());
  const rds = { host: "db.rds", port: 5432, username: "u", password: "first", dbname: "ledger" };

  it("takes what the environment lacks, from several secrets, and keeps it for 5 minutes", async () => {
    const secrets = { app: { STAGE: "prod", PUSHGATEWAY_URL: "http://not-this-one" }, rds };
    const { reads } = await fakeSecretsManager(secrets);
    const settings = await loadSettings("receiver", { fresh: true });
    expect(settings).toMatchObject({
      database: { host: "db.rds", password: "first" },
      pushgateway: { url: "https://push.internal/prefix" },
      stage: "prod",
    });
    expect(reads.sort()).toEqual(["app", "rds"]);

    secrets.rds = { ...rds, password: "second" };
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(Date.now() + 4 * 60_000);
    expect((await loadSettings("receiver")).database.password).toBe("first");
    vi.setSystemTime(Date.now() + 61_000);
    expect((await loadSettings("receiver")).database.password).toBe("second");
    expect(reads).toHaveLength(4);
  });

  it("reads it again at once when asked to", async () => {
    const secrets = { app: {}, rds };
    await fakeSecretsManager(secrets);
    await loadSettings("receiver", { fresh: true });
    secrets.rds = { ...rds, password: "second" };
    expect((await loadSettings("receiver")).database.password).toBe("first");
    expect((await loadSettings("receiver", { fresh: true })).database.password).toBe("second");
  });

  it("reads once for all that ask at the same time, and again after a failure", async () => {
    const secrets: Record<string, unknown> = { app: {} };
    const { reads } = await fakeSecretsManager(secrets);
    setEnvironment({ SECRET_ID: "rds,app" }); // None of the tests before has read these.
    const ask = () => Promise.allSettled(Array.from({ length: 50 }, () => loadSettings("receiver")));
    expect((await ask()).map(({ status }) => status)).toEqual(Array(50).fill("rejected"));
    secrets.rds = rds;
    expect((await ask()).map(({ status }) => status)).toEqual(Array(50).fill("fulfilled"));
    expect(reads).toHaveLength(2 * 2);

    delete secrets.rds;
    await expect(loadSettings("receiver", { fresh: true })).rejects.toThrow("ResourceNotFoundException");
    expect((await loadSettings("receiver")).database.password).toBe("first");
  });

  it("does not ask for secrets when SECRET_ID is not set", async () => {
    const { reads } = await fakeSecretsManager({ app: {}, rds });
    setEnvironment({ ...good, SECRET_ID: undefined });
    await loadSettings("receiver", { fresh: true });
    expect(reads).toEqual([]);
  });

  it.each([
    ["does not exist", { rds: {} }, "SECRET_ID: app could not be read: ResourceNotFoundException"],
    ["is not JSON", { app: "hunter2", rds }, "SECRET_ID: app could not be read: it is not a JSON object"],
    ["is null", { app: null, rds }, "SECRET_ID: app could not be read: it is not a JSON object"],
  ])("says so when a secret %s, and shows nothing of it", async (_, secrets, message) => {
    await fakeSecretsManager(secrets);
    const error = await loadSettings("receiver", { fresh: true }).catch((reason: Error) => reason);
    expect(error).toMatchObject({ message });
  });

  it("gives Secrets Manager 2 s", async () => {
    await fakeSecretsManager({});
    setEnvironment({ AWS_ENDPOINT_URL: `http://127.0.0.1:${await tcpServer(() => {})}` });
    const startedAt = performance.now();
    await expect(loadSettings("receiver", { fresh: true })).rejects.toThrow("no answer within 2000 ms");
    expect(performance.now() - startedAt).toBeLessThan(2_500);
  });
});
