// Both functions log in without a password, in front of a real PostgreSQL.
import type { Context } from "aws-lambda";
import { afterEach, expect, inject, it, vi } from "vitest";
import { handler as receiver } from "../../handlers/receiver.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { signedEvent } from "../helpers/lambda.ts";
import { captureLog } from "../helpers/log.ts";
import { forEachCheck } from "../helpers/models.ts";
import { awsCredentials, startRds } from "../helpers/rds.ts";
import { newSecret } from "../helpers/receiver.ts";
import { tcpServer } from "../helpers/servers.ts";

const secret = newSecret();
afterEach(() => {
  vi.useRealTimers();
  setEnvironment({ AWS_REGION: undefined, CA_CERTIFICATES: undefined });
});

/** Both functions' settings without a password, on AWS. */
const use = (DATABASE_URL: string, changes: Record<string, string | undefined> = {}) =>
  setEnvironment({
    ...awsCredentials,
    DATABASE_URL,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: secret,
    STAGE: "iam",
    SECRET_ID: undefined,
    ...changes,
  });
const tick = () => sampler({}, {} as Context, () => {});
const deliver = () => receiver(signedEvent(secret, "[]") as never, {} as Context, () => {});

it("logs both functions in without a password, with a token that AWS would take, for each connection", async () => {
  const log = captureLog();
  vi.useFakeTimers({ toFake: ["Date", "performance"] });
  const rds = await startRds();
  const CA_CERTIFICATES = rds.certificates;
  // A token is good for 15 minutes.
  for (const minute of [0, 16]) {
    vi.advanceTimersByTime(minute * 60_000);
    use(rds.urlOf("veza_ledger_sampler"), { CA_CERTIFICATES });
    // A clock that is ahead leaves the counts of minutes unknown.
    expect(await tick()).toEqual(forEachCheck(({ stuckAfter }) => (minute > 0 && stuckAfter ? -1 : 0)));
    use(rds.urlOf("veza_ledger_receiver"), { CA_CERTIFICATES });
    expect(await deliver()).toMatchObject({ statusCode: 200, body: expect.stringContaining('"published":true') });
  }
  expect(rds.logins.map(({ problem }) => problem)).toEqual(Array(4).fill(undefined));
  expect(new Set(rds.logins.map(({ token }) => token)).size).toBe(4);

  // And reports what RDS says to a token that it does not take.
  use(rds.urlOf("veza_ledger_sampler"), { CA_CERTIFICATES, AWS_SECRET_ACCESS_KEY: "another" });
  expect(await tick()).toEqual(forEachCheck(() => -1));
  const reason = 'PAM authentication failed for user "veza_ledger_sampler"';
  expect(log).toContainEqual(expect.objectContaining({ message: "check failed", code: "28000", reason }));
  const refused = rds.logins.slice(4).map(({ problem }) => problem);
  expect(refused).toEqual(Array(3).fill("another signature")); // Two to publish.
  expect(JSON.stringify(log)).not.toMatch(/X-Amz|secret\/access|another/);
});

it("says that there are no credentials, or that none come within 2 s", async () => {
  const log = captureLog();
  use("postgres://veza_ledger_sampler@ledger.invalid/ledger", {
    AWS_ACCESS_KEY_ID: undefined,
    AWS_SECRET_ACCESS_KEY: undefined,
    AWS_CONFIG_FILE: "/nowhere",
    AWS_SHARED_CREDENTIALS_FILE: "/nowhere",
    AWS_EC2_METADATA_DISABLED: "true",
  });
  expect(await tick()).toEqual(forEachCheck(() => -1));
  expect(log[0]).toMatchObject({ reason: expect.stringContaining("Could not load credentials from any providers") });
  const AWS_ENDPOINT_URL_STS = `http://127.0.0.1:${await tcpServer(() => {})}`;
  setEnvironment({ AWS_ENDPOINT_URL_STS, AWS_ROLE_ARN: "x".repeat(20), AWS_WEB_IDENTITY_TOKEN_FILE: "package.json" });
  expect(await tick()).toEqual(forEachCheck(() => -1));
  expect(log).toContainEqual(expect.objectContaining({ reason: "AWS credentials: no answer within 2000 ms" }));
});
