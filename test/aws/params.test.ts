// The params of a stage in serverless.yml: which of them deploy/params.ts refuses, and what a deployer reads then.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { load } from "js-yaml";
import { expect, it, onTestFinished } from "vitest";
import { deployment } from "../../deploy/params.ts";
import { packageService } from "../helpers/packages.ts";

const [block = ""] = /^params:\n(?: .*\n)+/m.exec(await readFile("serverless.yml", "utf8")) ?? [];
const { params: blocks } = load(block) as { params: object };

/** What a deployer reads when Serverless itself cannot package this. */
async function refusal(stage: string, params: object, args: string[] = []): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-params-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const { stdout, stderr } = await packageService(folder, stage, params, args).then(
    () => ({ stdout: "", stderr: "" }),
    (error: { stdout: string; stderr: string }) => error,
  );
  return stdout + stderr;
}

it("names every param that is wrong, in one error, and shows no credentials", async () => {
  const printed = await refusal("a-stage-that-makes-a-name-over-64-characters", {
    samplerSecretId: "what?",
    receiverSecretId: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:without-its-last-characters",
    kmsKeyArn: "arn:aws:kms:eu-central-1:123456789012:alias/mine",
    pushgatewayUrl: "https://user:hunter2@push.internal",
    subnetIds: "subnet-1",
    alarmTopicArn: "arn:aws:sns:eu-west-1:123456789012:on-call",
    receiverConcurrency: "0",
    urlAuthorizer: "AWS_IAM",
    permissionsBoundaryArn: "boundary",
    tags: { "cost-centre": 42 },
  });
  for (const problem of [
    "stage is too long: veza-ledger-metrics-a-stage-that-makes-a-name-over-64-characters-receiver has more than",
    "samplerSecretId must be names of secrets in eu-central-1, or whole ARNs",
    "receiverSecretId must be names of secrets in eu-central-1, or whole ARNs",
    "kmsKeyArn must be the ARN of a key in eu-central-1, not of an alias",
    "pushgatewayUrl must not carry credentials",
    "subnetIds and securityGroupIds belong together",
    "alarmTopicArn must be the ARN of an SNS topic in eu-central-1",
    "receiverConcurrency must be",
    "urlAuthorizer must be none, aws_iam or off",
    "permissionsBoundaryArn must be",
    "tags must be",
  ]) {
    expect(printed).toContain(problem);
  }
  expect(printed).not.toContain("hunter2");
  expect(printed).not.toMatch(/^\s+at /m);
});

it("refuses params on the command line, which the next deployment would forget", async () => {
  const printed = await refusal("prod", {}, ["--param", "receiverConcurrency=off", "--region", "eu-west-1"]);
  for (const name of ["receiverConcurrency", "region"]) {
    const message = "is set on the command line, which the next deployment forgets: set it under params, prod";
    expect(printed).toContain(`${name} ${message}`);
  }
});

it.each([
  [
    "none for the stage",
    undefined,
    'serverless.yml has params for dev and prod, and none for the stage staging; add at least "staging: {}"',
  ],
  [
    "a misspelt one",
    { alarmTopicARN: "arn:aws:sns:eu-central-1:123456789012:on-call" },
    "alarmTopicARN under params, staging, is not known: use region, databaseUrl,",
  ],
  [
    "no password and nowhere to log in",
    { databaseUrl: "postgres://db.internal/ledger" },
    "databaseUrl needs databaseResourceId, where the functions may log in without a password",
  ],
  [
    "a password, or no TLS",
    { databaseUrl: "postgres://u:hunter2@db/l?sslmode=disable", databaseResourceId: "*" },
    "databaseUrl must be like postgres://host:5432/database, without user and password, and with TLS; " +
      "databaseResourceId",
  ],
  [
    "a sampler that lacks settings",
    { samplerSecretId: "", pushgatewayUrl: "https://push.internal" },
    "samplerSecretId may be empty only with databaseUrl and pushgatewayUrl",
  ],
])("refuses params with %s", async (_, params, message) => {
  const resolved = { "sls:stage": "staging", "self:service": "veza-ledger-metrics" };
  const refused = deployment({
    options: {},
    resolveVariable: async (address) => resolved[address as keyof typeof resolved],
    resolveConfigurationProperty: async () => ({ ...blocks, ...(params && { staging: params }) }),
  });
  await expect(refused).rejects.toThrow(message);
});
