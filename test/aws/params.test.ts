// The params of a stage in stages.yml: which of them deploy/params.ts refuses, and what a deployer reads then.
import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { expect, it } from "vitest";
import { deployment } from "../../deploy/params.ts";

const [block = ""] = /^params:\n(?: .*\n)+/m.exec(await readFile("serverless.yml", "utf8")) ?? [];
const { params: blocks } = load(block.replaceAll(`\${sls:stage}`, "staging")) as { params: { default: object } };

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
  const stages = params === undefined ? null : { prod: { alarmTopicArn: "none" }, [stage]: block };
  const resolved = { "sls:stage": stage, "self:service": "veza-ledger-metrics", "file(stages.yml), null": stages };
  return await deployment({
    options,
    resolveVariable: async (address) => resolved[address as keyof typeof resolved],
    resolveConfigurationProperty: async ([, name = ""]) => blocks[name as keyof typeof blocks],
  });
}

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
  expect(message).toBe("stage may not be drill, which docs/drill.md uses");
  expect((await refusal({ region: "eu-central-1" }, "drill2")).message).toBe("it was taken");
  expect((await refusal({}, "on_call")).message).toContain("stage may hold letters, digits and - only");
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
    tags: { "cost-centre": 42 },
  };
  const { message, stack } = await refusal(params, "a-stage-that-makes-a-name-over-64-characters");
  expect(message.split("; ").map((problem) => problem.split(" ")[0])).toEqual([
    "stage",
    "databaseResourceId",
    "samplerSecretId",
    "receiverSecretId",
    "kmsKeyArn",
    "subnetIds",
    "alarmTopicArn",
    "receiverConcurrency",
    "urlAuthorizer",
    "permissionsBoundaryArn",
    "tags",
  ]);
  expect(stack).toBe(message);
});

it("refuses params on the command line, which the next deployment would forget", async () => {
  const options = { param: ["receiverConcurrency=off"], region: "eu-west-1" };
  const forgotten =
    "is set on the command line, which the next deployment forgets: set it in stages.yml, under staging";
  const { message } = await refusal({ tags: {} }, "staging", options);
  expect(message).toContain(`receiverConcurrency ${forgotten}; region ${forgotten}`);
});

it.each([
  ["no file", undefined, /^there is no stages.yml beside .*: add "staging: { alarmTopicArn: … }", with whom/],
  [
    "nothing under the stage",
    null,
    /^stages.yml has no block: add "staging: { alarmTopicArn: … }", with whom the alarms/,
  ],
  ["a list under the stage", [], /^stages.yml has no block: add /],
  [
    "nobody named whom the alarms notify",
    {},
    /^alarmTopicArn must be the ARN of the SNS topic .*, or none, where nobody/,
  ],
  [
    "a topic that is no ARN",
    { alarmTopicArn: "on-call" },
    /^alarmTopicArn must be the ARN of the SNS topic in eu-central/,
  ],
  [
    "a misspelt name",
    { alarmTopicARN: "" },
    "alarmTopicARN in stages.yml, under staging, is not known: use region, da",
  ],
  ["another region's form", { region: "Frankfurt" }, "region must be like eu-central-1"],
  ["another network", { subnetIds: "vpc-1", securityGroupIds: "default" }, /^subnetIds .*; securityGroupIds must/],
  ["no secret for the sampler", { samplerSecretId: "" }, /^samplerSecretId must be/],
])("refuses params with %s", async (_, params, message) => {
  expect((await refusal(params)).message).toMatch(message);
});
