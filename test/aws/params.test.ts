// The params of a stage in stages.yml: which of them deploy/params.ts refuses, and what a deployer reads then.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { deploymentOf as deploymentIn } from "../../deploy/params.ts";
import { stageIn } from "../../setup/aws/stage.ts";

/** The error that a stage with these params gets, who tell nobody; undefined: there is no stages.yml. */
async function refusal(...stage: Parameters<typeof deploymentOf>): Promise<Error> {
  return await deploymentOf(...stage).then(
    () => new Error("it was taken"),
    (error) => error,
  );
}

/** What serverless.yml gets of this stage. */
async function deploymentOf(params: object | null | undefined, stage = "staging", options = {}) {
  const block = params && Object.keys(params).length > 0 ? { alarmTopicArn: "none", ...params } : params;
  const stages = params === undefined ? "" : JSON.stringify({ prod: { alarmTopicArn: "none" }, [stage]: block });
  return deploymentIn(stage, stages, options);
}

it("deploys stage.yml as it is shipped, with its empty names filled in", async () => {
  const template = (await readFile("setup/aws/stage.yml", "utf8")).replaceAll("STAGE", "prod");
  const filled = template.replace("alarmTopicArn:", "alarmTopicArn: none");
  const shipped = deploymentIn("prod", filled);
  expect(shipped).toMatchObject({
    region: "eu-central-1",
    samplerEnvironment: { SECRET_ID: "veza-ledger-metrics/prod/sampler" },
    receiverEnvironment: { SECRET_ID: "veza-ledger-metrics/prod/receiver" },
    vpc: undefined,
    url: true,
    samplerConcurrency: 1,
    receiverConcurrency: 5,
    alarmActions: [],
  });
  // A commented line of a default says what holds without it.
  const defaults = ["urlAuthorizer", "receiverConcurrency", "iam", "samplerSecretId", "receiverSecretId"];
  const uncommented = filled.replaceAll(new RegExp(`# (?=(${defaults.join("|")}): )`, "g"), "");
  for (const name of defaults) expect(uncommented).toMatch(new RegExp(`^  ${name}: \\S`, "m"));
  expect(deploymentIn("prod", uncommented)).toEqual(shipped);
  expect(stageIn(uncommented, "prod", [])).toEqual({ ...stageIn(filled, "prod", []), given: expect.any(Array) });
  // Without its lines, the block has the same.
  const shorter = uncommented.replaceAll(
    /^ {2}(region|schema|timezone|iam|url\w+|receiver\w+|samplerSecretId):.*\n/gm,
    "",
  );
  expect(stageIn(shorter, "prod", [])).toEqual({ ...stageIn(filled, "prod", []), given: expect.any(Array) });
});

it("takes a stage's params with spaces around them", async () => {
  expect(await deploymentOf({ subnetIds: " ", region: " eu-west-3 " })).toMatchObject({
    region: "eu-west-3",
    vpc: undefined,
  });
});

it("has no URL where it is off, and one that AWS guards where it is aws_iam", async () => {
  const urlOf = async (urlAuthorizer: string) => (await deploymentOf({ urlAuthorizer })).url;
  expect([await urlOf("off"), await urlOf("aws_iam"), await urlOf("none")]).toEqual([
    undefined,
    { authorizer: "aws_iam" },
    true,
  ]);
});

it("takes a stage with a name for AWS, and leaves drill to the drill", async () => {
  const { message } = await refusal({ region: "eu-central-1" }, "drill");
  expect(message).toBe("drill can be no stage: docs/drill.md uses it");
  expect((await refusal({ region: "eu-central-1" }, "drill2")).message).toBe("it was taken");
  expect((await refusal({}, "on_call")).message).toContain(
    "on_call can be no stage: write letters, digits and hyphens",
  );
});

it("names every param that is wrong, in one error without a stack", async () => {
  const params = {
    databaseResourceId: "*",
    samplerSecretId: "what?",
    receiverSecretId: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:without-its-last-characters",
    kmsKeyArn: "arn:aws:kms:eu-central-1:123456789012:alias/mine",
    subnetIds: "subnet-1",
    alarmTopicArn: "arn:aws:sns:eu-west-1:123456789012:on-call",
    receiverConcurrency: "0",
    urlAuthorizer: "AWS_IAM",
    permissionsBoundaryArn: "boundary",
    tags: { "cost-centre": [42] },
  };
  const { message, stack } = await refusal(params);
  expect(message.split("\n  ").map((problem) => problem.replace("stages.yml:1: ", "").split(" ")[0])).toEqual([
    "Correct",
    "alarmTopicArn",
    "databaseResourceId",
    "samplerSecretId",
    "receiverSecretId",
    "kmsKeyArn",
    "subnetIds",
    "urlAuthorizer",
    "receiverConcurrency",
    "permissionsBoundaryArn",
    "tags",
  ]);
  expect(stack).toBe(message);
  const long = await refusal({}, "a-stage-that-makes-a-name-over-64-characters");
  expect(long.message).toContain("can be no stage: write letters, digits and hyphens, at most 36");
});

it("refuses params on the command line, which the next deployment would forget", async () => {
  const options = { param: ["receiverConcurrency=off"], region: "eu-west-1" };
  const { message } = await refusal({ tags: {} }, "staging", options);
  expect(message).toBe("The next deployment forgets receiverConcurrency, region: set it in stages.yml, under staging");
});

it.each([
  ["no file", undefined, /^stages.yml has no block of staging: run npm run aws -- names staging$/],
  ["nothing under the stage", null, /^stages.yml:1: staging has no names under it/],
  ["a list under the stage", [], /^stages.yml:1: staging has no names under it/],
  [
    "nobody named whom the alarms notify",
    {},
    /alarmTopicArn is empty: write the ARN of an SNS topic .*, or none, where nobody/,
  ],
  [
    "a topic that is no ARN",
    { alarmTopicArn: "on-call" },
    /alarmTopicArn is of the wrong kind: write the ARN of an SNS topic in this region/,
  ],
  ["a misspelt name", { alarmTopicARN: "" }, "alarmTopicARN is not known: is it alarmTopicArn?"],
  [
    "another region's form",
    { region: "Frankfurt" },
    "region is of the wrong kind: write a region of AWS, such as eu-central-1",
  ],
  [
    "another network",
    { subnetIds: "vpc-1", securityGroupIds: "default" },
    / subnetIds is of .*\n.* securityGroupIds is of/,
  ],
  ["no secret for the sampler", { samplerSecretId: "" }, /samplerSecretId is empty: write names of secrets, or/],
])("refuses params with %s", async (_, params, message) => {
  expect((await refusal(params)).message).toMatch(message);
});
