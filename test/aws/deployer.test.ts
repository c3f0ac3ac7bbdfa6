// What the rights in deploy/deployer.json lead to, one after the other, and what is left when the deployer is gone.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { allows, type Policy } from "../helpers/policy.ts";

const deployer = await readFile("deploy/deployer.json", "utf8");
const account = /\d{12}/.exec(deployer)?.[0] ?? "";
const region = /[a-z]+-[a-z]+-\d\b/.exec(deployer)?.[0] ?? "";
const rights: Policy = JSON.parse(deployer);
const limit: Policy = JSON.parse(await readFile("deploy/boundary.json", "utf8"));
const own = `arn:aws:iam::${account}:policy/veza-ledger-metrics-boundary`;

/** A role as far as it matters: its limit, whom it trusts, and whether the deployer has given it all rights. */
interface Role {
  arn: string;
  boundary: string | undefined;
  trusts: "Lambda" | "another account";
  hasAll: boolean;
}
const named = (name: string, boundary?: string): Role => {
  return { arn: `arn:aws:iam::${account}:role/${name}`, boundary, trusts: "Lambda", hasAll: false };
};
const given = [
  named("veza-ledger-metrics-prod-ReceiverRole-1ABC", own),
  named("veza-ledger-metrics-dev-SamplerRole-1ABC"), // From before there was a boundary.
  named("deploy-veza-ledger-metrics"),
  named("somebody-else"),
];

const boundaries = [
  undefined,
  own,
  `arn:aws:iam::${account}:policy/other`,
  "arn:aws:iam::aws:policy/AdministratorAccess",
];
const trusts = ["Lambda", "another account"] as const;
type Step = [action: string, keys: Record<string, string | undefined>, role: Role];

/** Each change of a role that IAM has, the boundary that IAM compares then, and the role after it. */
function changesOf(role: Role): Step[] {
  const now = { "iam:PermissionsBoundary": role.boundary };
  const attach = (arn: string) => ({ ...now, "iam:PolicyARN": arn });
  return [
    ...boundaries.map((boundary): Step => {
      return ["iam:PutRolePermissionsBoundary", { "iam:PermissionsBoundary": boundary }, { ...role, boundary }];
    }),
    ["iam:DeleteRolePermissionsBoundary", now, { ...role, boundary: undefined }],
    ...trusts.map((trusted): Step => ["iam:UpdateAssumeRolePolicy", now, { ...role, trusts: trusted }]),
    ["iam:PutRolePolicy", now, { ...role, hasAll: true }],
    ["iam:AttachRolePolicy", attach("arn:aws:iam::aws:policy/AdministratorAccess"), { ...role, hasAll: true }],
  ];
}
const creations = ["veza-ledger-metrics-prod-New", "another"].flatMap((name) =>
  boundaries.flatMap((boundary) =>
    trusts.map((trusted): Step => {
      const role = { ...named(name, boundary), trusts: trusted };
      return ["iam:CreateRole", { "iam:PermissionsBoundary": boundary }, role];
    }),
  ),
);

/** All roles that the deployer can bring about: the roles that are given, new roles, and what becomes of each. */
function reachable(): Role[] {
  const isAllowed = ([action, keys, role]: Step) => allows(rights, action, role.arn, keys);
  const found = new Map<string, Role>();
  let next = [...given, ...creations.filter(isAllowed).map(([, , role]) => role)];
  while (next.length > 0) {
    const fresh = next.filter((role) => !found.has(JSON.stringify(role)));
    for (const role of fresh) found.set(JSON.stringify(role), role);
    next = fresh.flatMap((role) => changesOf(role).filter(isAllowed)).map(([, , role]) => role);
  }
  return [...found.values()];
}

it("leads to no role with new rights outside the boundary, and to no other trust of a role that is there", () => {
  const roles = reachable();
  expect(roles.length).toBeGreaterThan(given.length);
  expect(roles.filter(({ hasAll, boundary }) => hasAll && boundary !== own)).toEqual([]);
  const isGiven = ({ arn }: Role) => given.some((role) => role.arn === arn);
  expect(roles.filter((role) => isGiven(role) && role.trusts !== "Lambda")).toEqual([]);
  // No right to IAM's other ways: users, keys, policies' versions, providers, instance profiles.
  const others = ["CreateUser", "CreateAccessKey", "CreatePolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion"];
  const more = ["CreateOpenIDConnectProvider", "AddClientIDToOpenIDConnectProvider", "AddRoleToInstanceProfile"];
  for (const action of [...others, ...more].map((name) => `iam:${name}`)) {
    for (const resource of [own, ...given.map(({ arn }) => arn), "*"]) {
      expect([action, allows(rights, action, resource)]).toEqual([action, false]);
    }
  }
});

it("leads to no secret: neither the deployer nor a role that it has left behind can read one", () => {
  const secret = `arn:aws:secretsmanager:${region}:${account}:secret:veza-ledger-metrics/prod/receiver-AbCdEf`;
  const key = `arn:aws:kms:${region}:${account}:key/1234abcd`;
  for (const action of ["GetSecretValue", "BatchGetSecretValue", "PutResourcePolicy", "ReplicateSecretToRegions"]) {
    expect(allows(rights, `secretsmanager:${action}`, secret)).toBe(false);
  }
  for (const { arn } of given) expect(allows(rights, "sts:AssumeRole", arn)).toBe(false);
  for (const action of ["Decrypt", "CreateGrant", "PutKeyPolicy"])
    expect(allows(rights, `kms:${action}`, key)).toBe(false);
  // IAM has no key for whom a new role trusts. Used from elsewhere than a function of this service, it reads no secret.
  const code = (name: string) => ({
    "lambda:SourceFunctionArn": `arn:aws:lambda:${region}:${account}:function:${name}`,
  });
  const foreign = {
    "lambda:SourceFunctionArn": `arn:aws:lambda:${region}:210987654321:function:veza-ledger-metrics-x`,
  };
  expect(reachable().some(({ trusts: trusted }) => trusted === "another account")).toBe(true);
  const reads = [{}, foreign, code("somebody-else"), code("veza-ledger-metrics-prod-receiver")].map((keys) =>
    allows(limit, "secretsmanager:GetSecretValue", secret, keys),
  );
  expect(reads).toEqual([false, false, false, true]);
});

it("passes its roles to Lambda alone, and the stacks no other role", () => {
  const [role] = given as [Role];
  const passes = (service: string, arn = role.arn) =>
    allows(rights, "iam:PassRole", arn, { "iam:PassedToService": `${service}.amazonaws.com` });
  expect(passes("lambda")).toBe(true);
  expect(["cloudformation", "ec2", "events", "scheduler"].filter((service) => passes(service))).toEqual([]);
  expect(given.slice(2).filter(({ arn }) => passes("lambda", arn))).toEqual([]);
});

const prod = "veza-ledger-metrics-prod";
const of = (service: string, rest: string) => `arn:aws:${service}:${region}:${account}:${rest}`;
const resources: Record<string, string> = {
  cloudformation: of("cloudformation", `stack/${prod}/1`),
  s3: `arn:aws:s3:::${prod}-bucket`,
  lambda: of("lambda", `function:${prod}-sampler`),
  events: of("events", `rule/${prod}-SamplerEventsRuleSchedule1-1ABC`),
  logs: of("logs", `log-group:/aws/lambda/${prod}-sampler:log-stream:`),
  cloudwatch: of("cloudwatch", `alarm:${prod}-sampler-silent`),
  iam: `arn:aws:iam::${account}:role/${prod}-SamplerRole-1ABC`,
};
const removal = [
  "cloudformation:DeleteStack cloudformation:DescribeStacks cloudformation:DescribeStackEvents",
  "s3:ListBucket s3:GetObject s3:DeleteObject s3:DeleteObjectVersion s3:DeleteBucketPolicy s3:DeleteBucket",
  "lambda:DeleteFunction lambda:DeleteFunctionUrlConfig lambda:RemovePermission lambda:DeleteFunctionConcurrency",
  "lambda:DeleteFunctionEventInvokeConfig events:RemoveTargets events:DeleteRule cloudwatch:DeleteAlarms",
  "logs:DeleteMetricFilter logs:DeleteLogGroup iam:GetRole iam:ListRolePolicies iam:ListAttachedRolePolicies",
  "iam:DeleteRolePolicy iam:DetachRolePolicy iam:DeleteRole",
];
const update = [
  "cloudformation:CreateChangeSet cloudformation:DescribeChangeSet cloudformation:ExecuteChangeSet",
  "cloudformation:DeleteChangeSet cloudformation:GetTemplate cloudformation:DescribeStackResource s3:PutObject",
  "lambda:GetFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration lambda:PutFunctionConcurrency",
  "lambda:UpdateFunctionUrlConfig lambda:PutFunctionEventInvokeConfig lambda:TagResource lambda:UntagResource",
  "events:PutRule events:PutTargets events:DescribeRule events:TagResource cloudwatch:PutMetricAlarm",
  "cloudwatch:DescribeAlarms cloudwatch:TagResource cloudwatch:UntagResource logs:PutMetricFilter",
  "logs:PutRetentionPolicy logs:TagResource logs:UntagResource logs:ListTagsForResource iam:GetRole iam:GetRolePolicy",
  "iam:PutRolePolicy iam:DeleteRolePolicy iam:PutRolePermissionsBoundary iam:TagRole iam:UntagRole iam:ListRoleTags",
  "iam:PassRole",
];
const deployment = [
  "cloudformation:CreateStack s3:CreateBucket s3:PutEncryptionConfiguration s3:PutBucketPolicy s3:PutBucketTagging",
  "lambda:CreateFunction lambda:CreateFunctionUrlConfig lambda:AddPermission logs:CreateLogGroup iam:CreateRole",
];

it.each([
  ["a deployment", [...deployment, ...update]],
  ["an update", update],
  // Of a deployment, CloudFormation removes what is there. Of an update, it sets what was.
  ["a rollback", [...removal, ...update]],
  ["a removal", removal],
])("allows what Serverless and CloudFormation call for %s", (_, calls) => {
  const keys = { "iam:PermissionsBoundary": own, "iam:PassedToService": "lambda.amazonaws.com" };
  const actions = calls.join(" ").split(" ");
  const isRefused = (action: string) => {
    const resource = resources[action.split(":")[0] ?? ""] ?? "";
    return !allows(rights, action, action === "s3:PutObject" ? `${resource}/sampler.zip` : resource, keys);
  };
  expect(actions.filter(isRefused)).toEqual([]);
});

it("allows the few calls that name no resource", () => {
  const calls = "cloudformation:ValidateTemplate logs:DescribeLogGroups ec2:DescribeSubnets ec2:DescribeSecurityGroups";
  const isRefused = (action: string) => !allows(rights, action, "*");
  expect(`${calls} ec2:DescribeVpcs`.split(" ").filter(isRefused)).toEqual([]);
});
