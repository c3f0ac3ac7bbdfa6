// Settings: what they are parsed to, and what is wrong with them.
import tls, { rootCertificates } from "node:tls";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { trustCertificates } from "../../lib/settings/certificates.ts";
import { findDatabaseOf, loadSettings, parseSettings, SettingsError } from "../../lib/settings/settings.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { newSecret } from "../helpers/receiver.ts";

const secret = newSecret();
const [certificate = "", otherCertificate = ""] = rootCertificates;
const good = {
  DATABASE_URL: "postgres://user:hunter2@db.internal:6432/ledger",
  PUSHGATEWAY_URL: "https://push.internal/prefix//",
  WEBHOOK_SECRET: secret,
};
const parse = (changes: Record<string, string | undefined>, role: "sampler" | "receiver" = "receiver") =>
  parseSettings({ ...good, ...changes }, role);

it("reads the settings", () => {
  const login = { username: "user", password: "hunter2" };
  const ledger = { schema: "public", timeZone: "UTC" };
  expect(parse({ STAGE: "prod-eu_1", PUSHGATEWAY_TOKEN: "token" })).toEqual({
    database: { host: "db.internal", port: 6432, database: "ledger", ...login, tls: "verified", ledger },
    pushgateway: { url: "https://push.internal/prefix", headers: { authorization: "Bearer token" } },
    webhookSecrets: [secret],
    stage: "prod-eu_1",
    certificates: [],
  });
});

it("gives an invocation its database, and after a refused password the database read again", async () => {
  setEnvironment(good);
  const find = findDatabaseOf("receiver", await loadSettings("receiver"));
  const passwordOf = async (fresh: boolean) => (await find(fresh)).password;
  setEnvironment({ DATABASE_URL: "postgres://user:rotated@db.internal/ledger" });
  expect(await passwordOf(false)).toBe("hunter2");
  expect(await passwordOf(true)).toBe("rotated");
  expect(await passwordOf(false)).toBe("rotated");
});

it("takes several webhook secrets, separated by spaces, none for the sampler, and an empty stage for none", () => {
  const [shortest, longest] = [newSecret(24), newSecret(64)];
  expect(parse({ WEBHOOK_SECRET: ` ${shortest}  ${longest}\n` }).webhookSecrets).toEqual([shortest, longest]);
  const asSampler = parse({ WEBHOOK_SECRET: undefined, STAGE: "" }, "sampler");
  expect(asSampler).toMatchObject({ webhookSecrets: [], stage: undefined });
});

it.each([
  [undefined, "public"],
  ["", "public"],
  ["veza_ledger_views", "veza_ledger_views"],
  ["Veza", "Veza"],
])("LEDGER_SCHEMA %o is %o", (text, schema) => {
  expect(parse({ LEDGER_SCHEMA: text }).database.ledger.schema).toEqual(schema);
});

it.each(["a;b", '"a"', "a b", "pg_temp", "information_schema", "a,b", "a'", "1a"])(
  "LEDGER_SCHEMA %o names no schema",
  (text) => {
    expect(() => parse({ LEDGER_SCHEMA: text })).toThrow("LEDGER_SCHEMA must be");
  },
);

it.each([
  [undefined, "UTC"],
  ["", "UTC"],
  ["Europe/Paris", "Europe/Paris"],
  ["Etc/GMT+3", "Etc/GMT+3"],
])("LEDGER_TIMEZONE %o is %o", (text, zone) => {
  expect(parse({ LEDGER_TIMEZONE: text }).database.ledger.timeZone).toBe(zone);
});

it.each(["UTC+3", "+03:00", "Europe/Pariss", "Europe/Paris2", "5", "'"])("LEDGER_TIMEZONE %o is no zone", (text) => {
  expect(() => parse({ LEDGER_TIMEZONE: text })).toThrow("LEDGER_TIMEZONE must be");
});

it.each([
  ["postgres://u:p@not-localhost/l", "verified"],
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

describe("without a password in DATABASE_URL", () => {
  const parseOn = (region: string | undefined, url: string, password?: string) => {
    setEnvironment({ AWS_REGION: region, PGPASSWORD: password });
    onTestFinished(() => setEnvironment({ AWS_REGION: undefined, PGPASSWORD: undefined }));
    return parse({ DATABASE_URL: url }).database;
  };
  it.each([
    ["logs in by IAM on AWS", "eu-central-1", "postgres://u@db.internal/l", undefined, undefined],
    ["takes an empty one for none", "eu-central-1", "postgres://u:@db/l?sslmode=require", undefined, undefined],
    ["is trusted by this machine", "eu-central-1", "postgres://u@127.0.0.1/l", undefined, ""],
    ["is trusted by a server elsewhere, not on AWS", undefined, "postgres://u@db.internal/l", undefined, ""],
    ["takes PGPASSWORD as psql does, also on AWS", "eu-central-1", "postgres://u@db.internal/l", "s3c/#", "s3c/#"],
    ["needs no PGPASSWORD where there is one", "eu-central-1", "postgres://u:p@db.internal/l", "s3c/#", "p"],
  ])("%s", (_, region, url, given, password) => {
    expect(parseOn(region, url, given)).toMatchObject({ password, username: "u" });
  });

  it("asks for TLS on AWS", () => {
    const refused = "DATABASE_URL has no password: on AWS it logs in by IAM, which needs TLS, so sslmode=verify-full";
    expect(() => parseOn("eu-central-1", "postgres://u@db.internal/l?sslmode=disable")).toThrow(refused);
  });
});

it("decodes user, password, host and database, takes a stray % for itself, and knows the default port", () => {
  const decoded = { username: "us@er", password: "p/ss%", database: "my db", port: 5432 };
  expect(parse({ DATABASE_URL: "postgres://us%40er:p%2Fss%25@db/my%20db" }).database).toMatchObject(decoded);
  expect(parse({ DATABASE_URL: "postgres://%ff:100%x@db/d" }).database).toMatchObject({ password: "100%x" });
  expect(parse({ DATABASE_URL: "postgres://u:p@[::1]/l" }).database.host).toBe("::1");
});

it("builds the database from an RDS secret's keys, TLS verified", () => {
  const rds = { host: "db.rds", port: "5433", username: "u", password: "p@/:", dbname: "ledger", engine: "postgres" };
  const parsed = { host: "db.rds", port: 5433, username: "u", password: "p@/:", database: "ledger", tls: "verified" };
  expect(parse({ ...rds, DATABASE_URL: undefined }).database).toMatchObject(parsed);
  expect(parse({ ...rds, port: undefined, DATABASE_URL: undefined }).database.port).toBe(5432);
  expect(parse(rds).database.host).toBe("db.internal"); // DATABASE_URL goes first.
});

it("trusts a bundle of certificates, comments included, beside its own, until it is told another bundle", () => {
  const trust = vi.spyOn(tls, "setDefaultCACertificates");
  onTestFinished(() => void trust.mockRestore());
  const both = `# Amazon\n${certificate}\n\n# another\n${otherCertificate}\n`;
  for (const bundle of [both, certificate, certificate, both, "\n"]) {
    trustCertificates(parse({ CA_CERTIFICATES: bundle }).certificates);
  }
  // Without a bundle, only its own are left: to how many Node has come, what ran before in this process has decided.
  const own = trust.mock.calls.at(-1)?.[0].length;
  const trusted = trust.mock.calls.map(([all]) => all.slice(own));
  expect(trusted).toEqual([[certificate, otherCertificate], [certificate], [certificate, otherCertificate], []]);
});

describe("names what is wrong, and no value:", () => {
  const likeThis = "DATABASE_URL must be like postgres://";
  const bytes = "WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64";
  const none = { DATABASE_URL: undefined, PUSHGATEWAY_URL: undefined };
  const pem = "CA_CERTIFICATES must be certificates in PEM";
  const noCertificate = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----";
  it.each<[string, Record<string, string | undefined>]>([
    ["DATABASE_URL is missing, and username, password, dbname in", { DATABASE_URL: undefined, host: "hunter2" }],
    [
      "DATABASE_URL is missing; PUSHGATEWAY_URL is missing; WEBHOOK_SECRET is missing",
      { ...none, WEBHOOK_SECRET: " " },
    ],
    [likeThis, { DATABASE_URL: "mysql://u:hunter2@h/d" }],
    [likeThis, { DATABASE_URL: "postgres://u:hunter2@a:1,b:2/d" }],
    [likeThis, { DATABASE_URL: "postgres://hunter2/d" }],
    [likeThis, { DATABASE_URL: "postgres://u:hunter2@h/" }],
    [likeThis, { DATABASE_URL: "postgres:///hunter2" }],
    ["DATABASE_URL: sslmode is the only parameter", { DATABASE_URL: "postgres://u:p@h/d?hunter2=1" }],
    ["DATABASE_URL: sslmode must be one of disable", { DATABASE_URL: "postgres://u:hunter2@h/d?sslmode=prefer" }],
    ["DATABASE_URL: sslmode must be one of disable", { DATABASE_URL: "postgres://u:hunter2@h/d?sslmode=toString" }],
    ["PUSHGATEWAY_URL must be an http or https URL", { PUSHGATEWAY_URL: "hunter2:9091" }],
    ["PUSHGATEWAY_URL must not have a query", { PUSHGATEWAY_URL: "http://h?hunter2" }],
    ["PUSHGATEWAY_URL must not have a query or a fragment", { PUSHGATEWAY_URL: "http://h#hunter2" }],
    ["PUSHGATEWAY_URL has a password and no user", { PUSHGATEWAY_URL: "http://:hunter2@push.internal" }],
    [
      "PUSHGATEWAY_URL has a user, and PUSHGATEWAY_TOKEN is set",
      { PUSHGATEWAY_URL: "http://u:hunter2@h", PUSHGATEWAY_TOKEN: "t" },
    ],
    ["PUSHGATEWAY_TOKEN must be printable ASCII", { PUSHGATEWAY_TOKEN: "hunter2 " }],
    [bytes, { WEBHOOK_SECRET: "hunter2hunter2hunter2hunter2" }],
    [bytes, { WEBHOOK_SECRET: secret.replace("=", "") }],
    [bytes, { WEBHOOK_SECRET: newSecret(23) }],
    [bytes, { WEBHOOK_SECRET: newSecret(65) }],
    [bytes, { WEBHOOK_SECRET: `${secret} hunter2${secret}` }],
    [bytes, { WEBHOOK_SECRET: `${secret}-hunter2` }],
    ["STAGE may hold letters", { STAGE: "hunter2/" }],
    ["STAGE is drill", { STAGE: "drill" }],
    [pem, { CA_CERTIFICATES: "hunter2" }],
    [pem, { CA_CERTIFICATES: `${certificate}\n${noCertificate}` }],
    [pem, { CA_CERTIFICATES: `${certificate}\n${otherCertificate.slice(0, -10)}` }],
    [pem, { CA_CERTIFICATES: `${certificate.slice(10)}\n${otherCertificate}` }],
  ])("%s", (message, changes) => {
    const refused = () => parse(changes);
    expect(refused).toThrow(SettingsError);
    expect(refused).toThrow(message);
    expect(refused).not.toThrow("hunter2");
  });
});
