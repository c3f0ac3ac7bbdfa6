import { cp, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fakeCloudFormation } from "../helpers/cloudformation.ts";
import { type Packaged, packageService } from "../helpers/packages.ts";
import { allows, type Policy } from "../helpers/policy.ts";
import { projectFolder, runProgram } from "../helpers/processes.ts";

// deploy/deployer.json against what the packaged template needs, and deploy/boundary.json against what its roles may.

const account = "123456789012";
const region = "eu-central-1";
const stack = "veza-ledger-metrics-prod";
const boundary = `arn:aws:iam::${account}:policy/veza-ledger-metrics-boundary`;
const read = async (file: string): Promise<Policy> => JSON.parse(await readFile(file, "utf8"));
const deployer = await read("deploy/deployer.json");
const limit = await read("deploy/boundary.json");

const database = { databaseUrl: "postgres://ledger.internal:5432/ledger", databaseResourceId: "db-ABCDEFGHIJKL" };
const variants: [string, object][] = [
  ["as it is", {}],
  ["with IAM, and no secret for the sampler", { ...database, pushgatewayUrl: "https://push", samplerSecretId: "" }],
  [
    "in a VPC, with a key, without a URL",
    {
      subnetIds: "subnet-0123abcd",
      securityGroupIds: "sg-0123abcd",
      kmsKeyArn: `arn:aws:kms:${region}:${account}:key/1234abcd`,
      urlAuthorizer: "off",
      receiverConcurrency: "off",
      tags: { team: "payments" },
    },
  ],
];

let folder: string;
const packages: Packaged[] = [];
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "veza-deployer-"));
  for (const [index, [, params]] of variants.entries()) {
    const all = { ...params, permissionsBoundaryArn: boundary };
    packages.push(await packageService(path.join(folder, String(index)), "prod", all));
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What CloudFormation calls to create, read, update and delete a resource, by AWS' resource schemas; and on what. */
const handlers: Record<string, [resource: string, actions: string[]]> = {
  "AWS::S3::Bucket": [
    `arn:aws:s3:::${stack}-bucket`,
    [
      ...[
        "s3:CreateBucket",
        "s3:DeleteBucket",
        "s3:ListBucket",
        "s3:PutEncryptionConfiguration",
        "s3:PutBucketTagging",
      ],
      ...["s3:GetEncryptionConfiguration", "s3:PutBucketPublicAccessBlock", "s3:PutBucketOwnershipControls"],
    ],
  ],
  "AWS::S3::BucketPolicy": [
    `arn:aws:s3:::${stack}-bucket`,
    ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"],
  ],
  "AWS::Logs::LogGroup": [
    `arn:aws:logs:${region}:${account}:log-group:/aws/lambda/${stack}-sampler`,
    ["CreateLogGroup", "DeleteLogGroup", "PutRetentionPolicy", "TagResource", "ListTagsForResource"].map(
      (name) => `logs:${name}`,
    ),
  ],
  "AWS::Logs::MetricFilter": [
    `arn:aws:logs:${region}:${account}:log-group:/aws/lambda/${stack}-receiver:log-stream:`,
    ["logs:PutMetricFilter", "logs:DescribeMetricFilters", "logs:DeleteMetricFilter"],
  ],
  "AWS::Lambda::Function": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-sampler`,
    [
      ...["CreateFunction", "GetFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "DeleteFunction"],
      ...["PutFunctionConcurrency", "DeleteFunctionConcurrency", "TagResource", "UntagResource", "ListTags"],
      ...["GetFunctionCodeSigningConfig", "GetFunctionRecursionConfig", "GetRuntimeManagementConfig"],
    ].map((name) => `lambda:${name}`),
  ],
  "AWS::Lambda::EventInvokeConfig": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-sampler:$LATEST`,
    ["Put", "Get", "Update", "Delete"].map((verb) => `lambda:${verb}FunctionEventInvokeConfig`),
  ],
  "AWS::Lambda::Permission": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-sampler`,
    ["lambda:AddPermission", "lambda:GetPolicy", "lambda:RemovePermission"],
  ],
  "AWS::Lambda::Url": [
    `arn:aws:lambda:${region}:${account}:function:${stack}-receiver`,
    ["Create", "Get", "Update", "Delete"].map((verb) => `lambda:${verb}FunctionUrlConfig`),
  ],
  "AWS::Events::Rule": [
    `arn:aws:events:${region}:${account}:rule/${stack}-SamplerEventsRuleSchedule1-1ABC`,
    ["PutRule", "DescribeRule", "DeleteRule", "PutTargets", "RemoveTargets", "ListTargetsByRule", "TagResource"].map(
      (name) => `events:${name}`,
    ),
  ],
  "AWS::CloudWatch::Alarm": [
    `arn:aws:cloudwatch:${region}:${account}:alarm:${stack}-sampler-silent`,
    ["PutMetricAlarm", "DescribeAlarms", "DeleteAlarms", "TagResource", "UntagResource", "ListTagsForResource"].map(
      (name) => `cloudwatch:${name}`,
    ),
  ],
  "AWS::IAM::Role": [
    `arn:aws:iam::${account}:role/${stack}-SamplerRole-1ABC`,
    [
      ...["CreateRole", "GetRole", "DeleteRole", "PutRolePolicy", "GetRolePolicy", "DeleteRolePolicy", "TagRole"],
      ...["UntagRole", "ListRolePolicies", "ListAttachedRolePolicies", "DetachRolePolicy", "UpdateAssumeRolePolicy"],
      ...["PutRolePermissionsBoundary", "PassRole"],
    ].map((name) => `iam:${name}`),
  ],
};
const [role = ""] = handlers["AWS::IAM::Role"] ?? [];
const keys = { "iam:PermissionsBoundary": boundary, "iam:PassedToService": "lambda.amazonaws.com" };

describe("deploy/deployer.json", () => {
  it.each(variants.map(([name], index) => [name, index] as const))("allows what the template needs, %s", (_, index) => {
    const types = new Set(Object.values(packages[index]?.resources ?? {}).map(({ Type }) => Type));
    expect(types.size).toBeGreaterThan(8);
    for (const type of types) {
      const [resource = "", actions = []] = handlers[type] ?? [];
      expect([type, actions.length]).not.toEqual([type, 0]);
      expect(actions.filter((action) => !allows(deployer, action, resource, keys))).toEqual([]);
    }
  });

  it("allows what Serverless calls, when it deploys what was built", async () => {
    const { url, calls } = await fakeCloudFormation(account);
    const service = path.join(packages[0]?.folder ?? "", "..");
    // What the workflow's artifact has, and nothing else of the build.
    const build = path.join(service, "build");
    await rename(packages[0]?.folder ?? "", path.join(folder, "built"));
    const isInArtifact = (file: string) => file === path.join(folder, "built") || /\.(json|zip)$/.test(file);
    await cp(path.join(folder, "built"), build, { recursive: true, filter: isInArtifact });
    const archives = ["sampler", "receiver"].map((name) => path.join(build, `${name}.zip`));
    const before = await Promise.all(archives.map((file) => readFile(file)));
    const command = path.join(projectFolder, "node_modules/.bin/serverless");
    const line = `cd '${service}' && exec '${command}' deploy --stage prod --package build`;
    const deploying = runProgram("sh", ["-c", line], {
      HOME: folder,
      AWS_ENDPOINT_URL: url,
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
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
  it.each(variants.map(([name], index) => [name, index] as const))("allows what the functions need, %s", (_, index) => {
    const texts = JSON.stringify(packages[index]?.resources)
      .replaceAll(`\${AWS::Partition}`, "aws")
      .replaceAll(`\${AWS::Region}`, region)
      .replaceAll(`\${AWS::AccountId}`, account);
    const resources = Object.values(JSON.parse(texts) as Packaged["resources"]);
    const roles = resources.filter(({ Type }) => Type === "AWS::IAM::Role");
    expect(roles).toHaveLength(2);
    for (const { Properties } of roles) {
      expect(Properties.PermissionsBoundary).toBe(boundary);
      const [{ PolicyDocument }] = Properties.Policies as [{ PolicyDocument: Policy }];
      for (const { Action, Resource } of PolicyDocument.Statement) {
        const named = [Resource].flat().map((one) => Object(one)["Fn::Sub"] ?? one);
        const asked = [Action].flat().flatMap((action) => named.map((resource) => [action, resource] as const));
        const context = { "kms:ViaService": `secretsmanager.${region}.amazonaws.com` };
        expect(asked.filter(([action, resource]) => !allows(limit, action, resource, context))).toEqual([]);
      }
    }
  });

  it("allows nothing that changes rights, code or data of others", () => {
    for (const action of [
      "iam:CreateRole",
      "iam:PassRole",
      "sts:AssumeRole",
      "lambda:UpdateFunctionCode",
      "s3:GetObject",
    ]) {
      expect(allows(limit, action, "*")).toBe(false);
    }
    const secret = `arn:aws:secretsmanager:${region}:${account}:secret:somebody-else-ABCDEF`;
    expect(allows(limit, "secretsmanager:GetSecretValue", secret)).toBe(false);
  });
});

it.each(["deployer", "boundary"])("deploy/%s.json fits into a managed policy", async (name) => {
  const text = await readFile(`deploy/${name}.json`, "utf8");
  expect(text.replaceAll(/\s/g, "").length).toBeLessThanOrEqual(6_144);
});
