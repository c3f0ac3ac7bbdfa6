// What the rights in deploy/deployer.json lead to, and what is left when the deployer is gone.
import { expect, it } from "vitest";
import { allows, readPolicy } from "../helpers/policy.ts";
import { account, arn, region } from "../helpers/resources.ts";

const [rights, limit] = await Promise.all([readPolicy("deployer"), readPolicy("boundary")]);
const own = `arn:aws:iam::${account}:policy/veza-ledger-metrics-boundary`;
const roleNamed = (name: string) => `arn:aws:iam::${account}:role/${name}`;
const role = roleNamed("veza-ledger-metrics-prod-ReceiverRole-1ABC");
const otherRoles = [roleNamed("deploy-veza-ledger-metrics"), roleNamed("somebody-else")];

it("gives a role new rights inside the boundary alone, and changes nobody else's", () => {
  // IAM compares the boundary that the role gets, or that it has: none, for a role from before there was one.
  const others = [undefined, `arn:aws:iam::${account}:policy/other`, "arn:aws:iam::aws:policy/AdministratorAccess"];
  for (const action of ["CreateRole", "PutRolePermissionsBoundary", "PutRolePolicy", "AttachRolePolicy"]) {
    const may = (changed: string, boundary: string | undefined) =>
      allows(rights, `iam:${action}`, changed, { "iam:PermissionsBoundary": boundary });
    expect([action, ...others.map((boundary) => may(role, boundary))]).toEqual([action, false, false, false]);
    expect([action, ...otherRoles.map((other) => may(other, own))]).toEqual([action, false, false]);
  }
});

it("takes no role's boundary away, lets nobody else use a role, and has no right to IAM's other ways", () => {
  const ofRoles = ["DeleteRolePermissionsBoundary", "UpdateAssumeRolePolicy"];
  const others = ["CreateUser", "CreateAccessKey", "CreatePolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion"];
  const more = ["CreateOpenIDConnectProvider", "AddClientIDToOpenIDConnectProvider", "AddRoleToInstanceProfile"];
  for (const action of [...ofRoles, ...others, ...more].map((name) => `iam:${name}`)) {
    for (const resource of [own, role, ...otherRoles, "*"]) {
      expect([action, allows(rights, action, resource, { "iam:PermissionsBoundary": own })]).toEqual([action, false]);
    }
  }
});

it("leads to no secret: neither the deployer nor a role that it has left behind can read one", () => {
  const secret = arn("secretsmanager", "secret:veza-ledger-metrics/prod/receiver-AbCdEf");
  const key = arn("kms", "key/1234abcd");
  for (const action of ["GetSecretValue", "BatchGetSecretValue", "PutResourcePolicy", "ReplicateSecretToRegions"]) {
    expect(allows(rights, `secretsmanager:${action}`, secret)).toBe(false);
  }
  for (const left of [role, ...otherRoles]) expect(allows(rights, "sts:AssumeRole", left)).toBe(false);
  for (const action of ["Decrypt", "CreateGrant", "PutKeyPolicy"])
    expect(allows(rights, `kms:${action}`, key)).toBe(false);
  // IAM has no key for whom a new role trusts: it may be another account. Used from elsewhere than a function of this
  // service, the role reads no secret.
  const code = (name: string, of = account) => ({
    "lambda:SourceFunctionArn": `arn:aws:lambda:${region}:${of}:function:${name}`,
  });
  const foreign = code("veza-ledger-metrics-x", "210987654321");
  const reads = [{}, foreign, code("somebody-else"), code("veza-ledger-metrics-prod-receiver")].map((keys) =>
    allows(limit, "secretsmanager:GetSecretValue", secret, keys),
  );
  expect(reads).toEqual([false, false, false, true]);
});

it("lets no other account use or change a function by name", () => {
  const gives = (principal: string) =>
    allows(rights, "lambda:AddPermission", resources.lambda ?? "", { "lambda:Principal": principal });
  // The schedule's, and the public URL's.
  expect(["210987654321", "events.amazonaws.com", "*"].map(gives)).toEqual([false, true, true]);
  expect(allows(rights, "lambda:PutResourcePolicy", resources.lambda ?? "")).toBe(false);
});

it("puts a function into the networks that the stages name, and into no other", () => {
  for (const action of ["lambda:CreateFunction", "lambda:UpdateFunctionConfiguration"]) {
    const may = (keys: Record<string, string>) => allows(rights, action, resources.lambda ?? "", keys);
    const named = { "lambda:SubnetIds": "subnet-of-no-stage", "lambda:SecurityGroupIds": "sg-of-no-stage" };
    const other = { "lambda:SubnetIds": "subnet-1", "lambda:SecurityGroupIds": "sg-1" };
    const ways = [
      {},
      named,
      other,
      { ...named, "lambda:SecurityGroupIds": "sg-1" },
      { "lambda:SubnetIds": "subnet-1" },
    ];
    expect([action, ...ways.map(may)]).toEqual([action, true, true, false, false, false]);
  }
});

it("changes rules of EventBridge, and who may send events to none of its buses", () => {
  for (const action of ["PutPermission", "PutEvents", "CreateEventBus", "CreateArchive", "CreateConnection"]) {
    expect([action, allows(rights, `events:${action}`, resources.events ?? "")]).toEqual([action, false]);
  }
});

it("passes its roles to Lambda alone, and the stacks no other role", () => {
  const passes = (service: string, passed = role) =>
    allows(rights, "iam:PassRole", passed, { "iam:PassedToService": `${service}.amazonaws.com` });
  expect(passes("lambda")).toBe(true);
  expect(["cloudformation", "ec2", "events", "scheduler"].filter((service) => passes(service))).toEqual([]);
  expect(otherRoles.filter((other) => passes("lambda", other))).toEqual([]);
});

const prod = "veza-ledger-metrics-prod";
const resources: Record<string, string> = {
  cloudformation: arn("cloudformation", `stack/${prod}/1`),
  s3: `arn:aws:s3:::${prod}-bucket`,
  lambda: arn("lambda", `function:${prod}-sampler`),
  events: arn("events", `rule/${prod}-tick`),
  logs: arn("logs", `log-group:/aws/lambda/${prod}-sampler:log-stream:`),
  cloudwatch: arn("cloudwatch", `alarm:${prod}-sampler-silent`),
  iam: role,
};

// A rollback has the calls of an update and of a removal.
it.each([
  [
    "a deployment",
    "cloudformation:DescribeStacks cloudformation:GetTemplate cloudformation:CreateChangeSet cloudformation:ExecuteChangeSet s3:PutObject",
    "cloudformation:CreateStack s3:CreateBucket s3:PutEncryptionConfiguration s3:PutBucketPolicy s3:PutBucketTagging",
    "lambda:CreateFunction lambda:CreateFunctionUrlConfig lambda:AddPermission logs:CreateLogGroup iam:CreateRole",
  ],
  [
    "an update",
    "lambda:GetFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration lambda:PutFunctionConcurrency",
    "lambda:UpdateFunctionUrlConfig lambda:PutFunctionEventInvokeConfig lambda:TagResource lambda:UntagResource",
    "events:PutRule events:PutTargets events:DescribeRule events:TagResource cloudwatch:PutMetricAlarm",
    "cloudwatch:DescribeAlarms cloudwatch:TagResource cloudwatch:UntagResource logs:PutMetricFilter",
    "logs:PutRetentionPolicy logs:TagResource logs:UntagResource logs:ListTagsForResource iam:GetRole",
    "iam:GetRolePolicy iam:PutRolePolicy iam:DeleteRolePolicy iam:PutRolePermissionsBoundary iam:TagRole",
    "iam:UntagRole iam:ListRoleTags iam:PassRole",
  ],
  [
    "a removal",
    "cloudformation:DeleteStack cloudformation:DeleteChangeSet cloudformation:DescribeStackEvents",
    "s3:ListBucket s3:GetObject s3:DeleteObject s3:DeleteObjectVersion s3:DeleteBucketPolicy s3:DeleteBucket",
    "lambda:DeleteFunction lambda:DeleteFunctionUrlConfig lambda:RemovePermission lambda:DeleteFunctionConcurrency",
    "lambda:DeleteFunctionEventInvokeConfig events:RemoveTargets events:DeleteRule cloudwatch:DeleteAlarms",
    "logs:DeleteMetricFilter logs:DeleteLogGroup iam:GetRole iam:ListRolePolicies iam:ListAttachedRolePolicies",
    "iam:DeleteRolePolicy iam:DetachRolePolicy iam:DeleteRole",
  ],
  [
    "calls that name no resource",
    "cloudformation:ValidateTemplate lambda:GetAccountSettings logs:DescribeLogGroups ec2:DescribeSubnets ec2:DescribeSecurityGroups",
    // Without the last, CloudFormation does not wait until a removed function's network interfaces are gone.
    "ec2:DescribeVpcs ec2:DescribeNetworkInterfaces",
  ],
])("allows what CloudFormation and Serverless need for %s", (what, ...calls) => {
  const services = { "iam:PassedToService": "lambda.amazonaws.com", "lambda:Principal": "events.amazonaws.com" };
  const keys = { "iam:PermissionsBoundary": own, ...services };
  const resourceOf = (action: string) =>
    what === "calls that name no resource" ? "*" : (resources[action.split(":")[0] ?? ""] ?? "");
  const actions = calls.join(" ").split(" ");
  expect(actions.filter((action) => !allows(rights, action, resourceOf(action), keys))).toEqual([]);
});
