// Each variant of the template: it has what its params ask for, deploy/deployer.json allows what it needs, and
// deploy/boundary.json what its roles may.
import { cp, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fakeCloudFormation } from "../helpers/cloudformation.ts";
import { functionIn, type Packaged, packageService } from "../helpers/packages.ts";
import { allows, type Policy } from "../helpers/policy.ts";
import { projectFolder, runProgram } from "../helpers/processes.ts";
import { findings, ofType, ownArn, publicPermissions, roleOf, statementsOf } from "../helpers/resources.ts";

const account = "123456789012";
const region = "eu-central-1";
const stack = "veza-ledger-metrics-prod";
const boundary = `arn:aws:iam::${account}:policy/veza-ledger-metrics-boundary`;
const topic = `arn:aws:sns:${region}:${account}:on-call`;
const key = `arn:aws:kms:${region}:${account}:key/1234abcd-12ab-34cd-56ef-1234567890ab`;
const secret = `arn:aws:secretsmanager:${region}:${account}:secret:veza-ledger-metrics/prod/shared-AbCdEf`;
const names = ["sampler", "receiver"] as const;
const read = async (file: string): Promise<Policy> => JSON.parse(await readFile(file, "utf8"));
const deployer = await read("deploy/deployer.json");
const limit = await read("deploy/boundary.json");

const variants: Record<string, object> = {
  plain: {},
  "with IAM, and no secret for the sampler": {
    databaseUrl: "postgres://ledger.cluster-abc.eu-central-1.rds.amazonaws.com:5432/ledger",
    databaseResourceId: "cluster-ABCDEFGHIJKL",
    pushgatewayUrl: "https://push.internal",
    samplerSecretId: "",
    kmsKeyArn: key,
    urlAuthorizer: "aws_iam",
  },
  "in a VPC, with a key, without a URL": {
    samplerSecretId: `${secret},veza-ledger-metrics/prod/rds`,
    subnetIds: "subnet-0123abcd,subnet-4567abcd",
    securityGroupIds: "sg-0123abcd",
    kmsKeyArn: key,
    alarmTopicArn: topic,
    urlAuthorizer: "off",
    receiverConcurrency: "off",
    tags: { team: "payments" },
  },
};

let folder: string;
const packages: Record<string, Packaged> = {};
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "veza-variants-"));
  const make = async ([name, params]: [string, object]) => {
    const all = { ...params, permissionsBoundaryArn: boundary };
    packages[name] = await packageService(path.join(folder, name), "prod", all);
  };
  await Promise.all(Object.entries(variants).map(make));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const packaged = (name: string) => packages[name] as Packaged;

describe("the template", () => {
  it.each(Object.keys(variants))("%s makes resources that AWS' own schemas accept", (name) => {
    expect(findings(packaged(name).template)).toEqual([]);
  });

  it("would not pass with a wrong property", async () => {
    const wrong = path.join(folder, "wrong.json");
    const text = await readFile(packaged("plain").template, "utf8");
    await writeFile(wrong, text.replace('"FilterPattern"', '"Pattern"'));
    expect(findings(wrong)).toEqual([
      "ReceiverUnconfirmed Properties.Pattern: Additional properties are not allowed ('Pattern' was unexpected)",
      "ReceiverUnconfirmed Properties: 'FilterPattern' is a required property",
    ]);
  });

  it("lets each function log in by IAM as its own role alone, and the sampler without a secret", () => {
    const made = packaged("with IAM, and no secret for the sampler");
    const { resources } = made;
    for (const name of names) {
      const { Variables } = functionIn(made, name).Environment;
      expect(Variables).toMatchObject({
        DATABASE_URL: `postgres://veza_ledger_${name}@ledger.cluster-abc.eu-central-1.rds.amazonaws.com:5432/ledger`,
        PUSHGATEWAY_URL: "https://push.internal",
      });
      expect("SECRET_ID" in Variables).toBe(name === "receiver");
      const [, login, ...secrets] = statementsOf(resources, name);
      expect(login).toMatchObject({
        Action: "rds-db:connect",
        Resource: ownArn("rds-db", `dbuser:cluster-ABCDEFGHIJKL/veza_ledger_${name}`),
      });
      const ofSecrets = name === "receiver" ? ["secretsmanager:GetSecretValue", "kms:Decrypt"] : [];
      expect(secrets.map(({ Action }) => Action)).toEqual(ofSecrets);
    }
    expect(ofType(resources, "AWS::Lambda::Url")).toMatchObject([{ AuthType: "AWS_IAM" }]);
    expect(publicPermissions(resources)).toEqual([]);
  });

  it("takes the other options that a deployer may set", () => {
    const made = packaged("in a VPC, with a key, without a URL");
    const { resources } = made;
    for (const name of names) {
      expect(functionIn(made, name)).toMatchObject({
        VpcConfig: { SubnetIds: ["subnet-0123abcd", "subnet-4567abcd"], SecurityGroupIds: ["sg-0123abcd"] },
      });
      expect(functionIn(made, name)).not.toHaveProperty("ReservedConcurrentExecutions");
      expect(roleOf(resources, name)).toMatchObject({ PermissionsBoundary: boundary });
    }
    expect(statementsOf(resources, "sampler").slice(1)).toMatchObject([
      { Resource: [secret, ownArn("secretsmanager", "secret:veza-ledger-metrics/prod/rds-??????")] },
      { Action: "kms:Decrypt", Resource: key },
      {
        Action: [
          ...["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"],
          ...["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"],
        ],
        Resource: "*",
      },
    ]);
    expect(ofType(resources, "AWS::Lambda::Url")).toEqual([]);
    expect(publicPermissions(resources)).toEqual([]);
    for (const { AlarmActions, OKActions } of ofType(resources, "AWS::CloudWatch::Alarm")) {
      expect([AlarmActions, OKActions]).toEqual([[topic], [topic]]);
    }
  });
});

/** What CloudFormation calls to create, read, update and delete a resource, by AWS' resource schemas; and on what. */
const handlers: Record<string, [resource: string, actions: string]> = {
  "AWS::S3::Bucket": [
    `arn:aws:s3:::${stack}-bucket`,
    `CreateBucket DeleteBucket ListBucket PutEncryptionConfiguration PutBucketTagging GetEncryptionConfiguration
      PutBucketPublicAccessBlock PutBucketOwnershipControls`,
  ],
  "AWS::S3::BucketPolicy": [`arn:aws:s3:::${stack}-bucket`, "GetBucketPolicy PutBucketPolicy DeleteBucketPolicy"],
  "AWS::Logs::LogGroup": [
    `arn:aws:logs:${region}:${account}:log-group:/aws/lambda/${stack}-sampler`,
    "CreateLogGroup DeleteLogGroup PutRetentionPolicy TagResource ListTagsForResource",
  ],
  "AWS::Logs::MetricFilter": [
    `arn:aws:logs:${region}:${account}:log-group:/aws/lambda/${stack}-receiver:log-stream:`,
    "PutMetricFilter DescribeMetricFilters DeleteMetricFilter",
  ],
  "AWS::Lambda::Function": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-sampler`,
    `CreateFunction GetFunction UpdateFunctionCode UpdateFunctionConfiguration DeleteFunction PutFunctionConcurrency
      DeleteFunctionConcurrency TagResource UntagResource ListTags GetFunctionCodeSigningConfig
      GetFunctionRecursionConfig GetRuntimeManagementConfig`,
  ],
  "AWS::Lambda::EventInvokeConfig": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-sampler:$LATEST`,
    `PutFunctionEventInvokeConfig GetFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig
      DeleteFunctionEventInvokeConfig`,
  ],
  "AWS::Lambda::Permission": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-sampler`,
    "AddPermission GetPolicy RemovePermission",
  ],
  "AWS::Lambda::Url": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-receiver`,
    "CreateFunctionUrlConfig GetFunctionUrlConfig UpdateFunctionUrlConfig DeleteFunctionUrlConfig",
  ],
  "AWS::Events::Rule": [
    `arn:aws:events:${region}:${account}:rule/${stack}-SamplerEventsRuleSchedule1-1ABC`,
    "PutRule DescribeRule DeleteRule PutTargets RemoveTargets ListTargetsByRule TagResource",
  ],
  "AWS::CloudWatch::Alarm": [
    `arn:aws:cloudwatch:${region}:${account}:alarm:${stack}-sampler-silent`,
    "PutMetricAlarm DescribeAlarms DeleteAlarms TagResource UntagResource ListTagsForResource",
  ],
  "AWS::IAM::Role": [
    `arn:aws:iam::${account}:role/${stack}-SamplerRole-1ABC`,
    `CreateRole GetRole DeleteRole PutRolePolicy GetRolePolicy DeleteRolePolicy TagRole UntagRole ListRolePolicies
      ListAttachedRolePolicies DetachRolePolicy UpdateAssumeRolePolicy PutRolePermissionsBoundary PassRole`,
  ],
};
const [role = ""] = handlers["AWS::IAM::Role"] ?? [];
const keys = { "iam:PermissionsBoundary": boundary, "iam:PassedToService": "lambda.amazonaws.com" };

describe("deploy/deployer.json", () => {
  it.each(Object.keys(variants))("allows what the template needs, %s", (name) => {
    const types = new Set(Object.values(packaged(name).resources).map(({ Type }) => Type));
    expect(types.size).toBeGreaterThan(8);
    for (const type of types) {
      const [resource = "", actions = ""] = handlers[type] ?? [];
      expect(actions, type).not.toBe("");
      const needed = actions.split(/\s+/).map((action) => `${resource.split(":")[2]}:${action}`);
      expect(needed.filter((action) => !allows(deployer, action, resource, keys))).toEqual([]);
    }
  });

  it("allows what Serverless calls, when it deploys what was built", async () => {
    const { url, calls } = await fakeCloudFormation(account);
    const made = packaged("plain").folder;
    const service = path.dirname(made);
    // What the workflow's artifact has, and nothing else of the build.
    const build = path.join(service, "build");
    const isInArtifact = (file: string) => file === made || /\.(json|zip)$/.test(file);
    await cp(made, build, { recursive: true, filter: isInArtifact });
    await rename(made, path.join(folder, "built"));
    const archives = ["sampler", "receiver"].map((name) => path.join(build, `${name}.zip`));
    const before = await Promise.all(archives.map((file) => readFile(file)));
    const command = path.join(projectFolder, "node_modules/.bin/serverless");
    const line = `cd '${service}' && exec '${command}' deploy --stage prod --package build`;
    const deploying = runProgram("sh", ["-c", line], {
      HOME: folder,
      AWS_ENDPOINT_URL: url,
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      SLS_AWS_MONITORING_FREQUENCY: "200", // In ms; it asks CloudFormation every 5 s otherwise.
    });
    await deploying.exited;
    expect([deploying.child.exitCode, deploying.output()]).toEqual([0, expect.stringContaining("Service deployed")]);
    const after = await Promise.all(archives.map((file) => readFile(file)));
    expect(after.map((content, index) => content.equals(before[index] as Buffer))).toEqual([true, true]);
    expect(calls.map(({ action }) => action)).toEqual(
      expect.arrayContaining(["cloudformation:ExecuteChangeSet", "s3:PutObject", "lambda:GetFunction"]),
    );
    expect(calls.filter(({ action, resource }) => !allows(deployer, action, resource))).toEqual([]);
  });

  it("lets no right grow", () => {
    const other = { "iam:PermissionsBoundary": `arn:aws:iam::${account}:policy/other` };
    for (const action of ["CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary"]) {
      expect(allows(deployer, `iam:${action}`, role)).toBe(false);
      expect(allows(deployer, `iam:${action}`, role, other)).toBe(false);
    }
    expect(allows(deployer, "iam:PassRole", role, { "iam:PassedToService": "ec2.amazonaws.com" })).toBe(false);
    for (const action of ["AttachRolePolicy", "DeleteRolePermissionsBoundary"]) {
      expect(allows(deployer, `iam:${action}`, role, keys)).toBe(false);
    }
    const own = `arn:aws:iam::${account}:role/deploy-veza-ledger-metrics`;
    const rest = ["CreatePolicyVersion", "SetDefaultPolicyVersion", "PutRolePolicy", "PassRole", "CreateUser"];
    for (const action of rest) {
      for (const resource of [own, boundary]) expect(allows(deployer, `iam:${action}`, resource, keys)).toBe(false);
    }
    expect(allows(deployer, "secretsmanager:GetSecretValue", "*", keys)).toBe(false);
    expect(allows(deployer, "sts:AssumeRole", role, keys)).toBe(false);
  });
});

describe("deploy/boundary.json", () => {
  it.each(Object.keys(variants))("allows what the functions need, %s", (name) => {
    const texts = JSON.stringify(packaged(name).resources)
      .replaceAll(`\${AWS::Partition}`, "aws")
      .replaceAll(`\${AWS::Region}`, region)
      .replaceAll(`\${AWS::AccountId}`, account);
    const resources: Packaged["resources"] = JSON.parse(texts);
    expect(ofType(resources, "AWS::IAM::Role")).toHaveLength(2);
    for (const functionName of names) {
      expect(roleOf(resources, functionName).PermissionsBoundary).toBe(boundary);
      for (const { Action, Resource } of statementsOf(resources, functionName)) {
        const named = [Resource].flat().map((one) => Object(one)["Fn::Sub"] ?? one);
        const asked = [Action].flat().flatMap((action) => named.map((resource) => [String(action), resource] as const));
        const context = { "kms:ViaService": `secretsmanager.${region}.amazonaws.com` };
        expect(asked.filter(([action, resource]) => !allows(limit, action, resource, context))).toEqual([]);
      }
    }
  });

  it("allows nothing that changes rights, code or data of others", () => {
    const others = ["iam:CreateRole", "iam:PassRole", "sts:AssumeRole", "lambda:UpdateFunctionCode", "s3:GetObject"];
    expect(others.filter((action) => allows(limit, action, "*"))).toEqual([]);
    const secret = `arn:aws:secretsmanager:${region}:${account}:secret:somebody-else-ABCDEF`;
    expect(allows(limit, "secretsmanager:GetSecretValue", secret)).toBe(false);
  });
});

it.each(["deployer", "boundary"])("deploy/%s.json fits into a managed policy", async (name) => {
  const text = await readFile(`deploy/${name}.json`, "utf8");
  expect(text.replaceAll(/\s/g, "").length).toBeLessThanOrEqual(6_144);
});
