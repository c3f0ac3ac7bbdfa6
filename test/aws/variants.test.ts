// Each variant of the template: it has what its params ask for, deploy/deployer.json allows what it needs, and
// deploy/boundary.json what its roles may.
import { readFile } from "node:fs/promises";
import { CelEngine, TemplateFile } from "@aws/cloudformation-validate";
import { describe, expect, it } from "vitest";
import {
  defaultPackage,
  functionIn,
  type Packaged,
  packageService,
  type Resources,
  stage,
} from "../helpers/packages.ts";
import { allows, type Keys, type Policy, readPolicy } from "../helpers/policy.ts";
import { account, arn, ofType, publicPermissions, roleIn, statementsOf } from "../helpers/resources.ts";

const stack = "veza-ledger-metrics-prod";
const network = [
  "ec2:AssignPrivateIpAddresses",
  "ec2:CreateNetworkInterface",
  "ec2:DeleteNetworkInterface",
  "ec2:DescribeNetworkInterfaces",
  "ec2:DescribeSubnets",
  "ec2:UnassignPrivateIpAddresses",
];
const names = ["sampler", "receiver"] as const;
const boundary = `arn:aws:iam::${account}:policy/veza-ledger-metrics-boundary`;
const topic = arn("sns", "on-call");
const key = arn("kms", "key/1234abcd-12ab-34cd-56ef-1234567890ab");
const secret = arn("secretsmanager", "secret:veza-ledger-metrics/prod/shared-AbCdEf");
const limit = await readPolicy("boundary");

const [plain, full] = await Promise.all([
  defaultPackage(),
  packageService("prod", {
    databaseResourceId: "cluster-ABCDEFGHIJKL",
    samplerSecretId: `${secret},veza-ledger-metrics/prod/rds`,
    subnetIds: "subnet-0123abcd, subnet-4567abcd",
    securityGroupIds: "sg-0123abcd",
    kmsKeyArn: key,
    alarmTopicArn: topic,
    urlAuthorizer: "aws_iam",
    receiverConcurrency: "off",
    permissionsBoundaryArn: boundary,
    tags: { team: "payments" },
  }),
]);
const variants = Object.entries({ "by default": plain, "with all options": full });

/** The resources that this one depends on, by its texts, and theirs. */
function neededBy(resources: Resources, id: string, found = new Set<string>()): Set<string> {
  const text = JSON.stringify(resources[id]);
  for (const other of Object.keys(resources)) {
    if (other === id || found.has(other) || !new RegExp(`"${other}"|\\{${other}[.}]`).test(text)) continue;
    found.add(other);
    neededBy(resources, other, found);
  }
  return found;
}

describe("the template", () => {
  const engine = new CelEngine(); // One for all: it takes 2 s of CPU time, and RegoEngine, with the same results, 3 s.
  const options = { severityLevel: "ERROR", pseudoParameterOverrides: { region: "eu-central-1" } } as const;
  it.each(variants)("%s makes resources that AWS' own schemas and cfn-lint's rules accept", (_, { template }) => {
    const { metadata, diagnostics } = engine.validateStandard(new TemplateFile(template), options);
    expect(metadata.resourcesScanned).toBeGreaterThan(10);
    expect(diagnostics).toEqual([]);
  });

  it("takes all options that a deployer may set, and lets each function log in by IAM as its own role alone", () => {
    const { resources } = full;
    const samplerSecrets = [secret, arn("secretsmanager", "secret:veza-ledger-metrics/prod/rds-??????")];
    const receiverSecrets = [arn("secretsmanager", "secret:veza-ledger-metrics/prod/receiver-??????")];
    for (const [name, secrets] of [
      ["sampler", samplerSecrets],
      ["receiver", receiverSecrets],
    ] as const) {
      expect(functionIn(full, name)).toMatchObject({
        VpcConfig: { SubnetIds: ["subnet-0123abcd", "subnet-4567abcd"], SecurityGroupIds: ["sg-0123abcd"] },
      });
      expect(functionIn(full, name)).not.toHaveProperty("ReservedConcurrentExecutions");
      expect(roleIn(resources, name)).toMatchObject({ PermissionsBoundary: boundary });
      expect(statementsOf(resources, name).slice(1)).toMatchObject([
        { Action: "rds-db:connect", Resource: arn("rds-db", `dbuser:cluster-ABCDEFGHIJKL/veza_ledger_${name}`) },
        { Action: "secretsmanager:GetSecretValue", Resource: secrets },
        { Action: "kms:Decrypt", Resource: key },
        { Effect: "Allow", Action: network, Resource: "*" },
        { Effect: "Deny", Action: network, Resource: "*" },
      ]);
    }
    expect(ofType(resources, "AWS::Lambda::Url")).toMatchObject([{ AuthType: "AWS_IAM" }]);
    expect(publicPermissions(resources)).toEqual([]);
    for (const { AlarmActions, OKActions } of ofType(resources, "AWS::CloudWatch::Alarm")) {
      expect([AlarmActions, OKActions]).toEqual([[topic], [topic]]);
    }
  });

  it.each(variants)(
    "lets Lambda alone make and delete network interfaces, also without a VPC, %s",
    (_, { resources }) => {
      for (const name of names) {
        const role: Policy = { Statement: statementsOf(resources, name) };
        const ofStage = resources === plain.resources ? `veza-ledger-metrics-${stage}` : stack;
        const byItsCode = { "lambda:SourceFunctionArn": arn("lambda", `function:${ofStage}-${name}`) };
        const rightsOf = (keys: Keys) => network.filter((action) => allows(role, action, "*", keys));
        expect([rightsOf({}), rightsOf(byItsCode)]).toEqual([network, []]); // Lambda itself sends no such key.
      }
    },
  );

  // CloudFormation updates what others depend on first, and deletes it last.
  it("keeps these rights until a function has left its VPC, and until it is gone", () => {
    for (const name of names) {
      const functionId = { sampler: "SamplerLambdaFunction", receiver: "ReceiverLambdaFunction" }[name];
      const roleId = { sampler: "SamplerRole", receiver: "ReceiverRole" }[name];
      for (const { resources } of [plain, full]) {
        expect([...neededBy(resources, functionId)]).toContain(roleId);
        expect([...neededBy(resources, roleId)]).toEqual([]);
      }
      const ofNetwork = ({ resources }: Packaged) => statementsOf(resources, name).slice(-2);
      expect(ofNetwork(plain)).toEqual(
        JSON.parse(JSON.stringify(ofNetwork(full)).replaceAll(stack, `veza-ledger-metrics-${stage}`)),
      );
    }
  });
});

const role = `arn:aws:iam::${account}:role/${stack}-SamplerRole-1ABC`;

it.each(variants)("deploy/deployer.json is asked for no other service's resources, %s", (_, { resources }) => {
  const services = Object.values(resources).map(({ Type }) => Type.split("::")[1]);
  expect([...new Set(services)].sort()).toEqual(["CloudWatch", "Events", "IAM", "Lambda", "Logs", "S3"]);
});

describe("deploy/boundary.json", () => {
  it.each(variants)("allows what the functions need, %s", (_, { resources }) => {
    for (const functionName of names) {
      const context = {
        "kms:ViaService": "secretsmanager.eu-central-1.amazonaws.com",
        "lambda:SourceFunctionArn": arn("lambda", `function:${stack}-${functionName}`),
      };
      for (const { Effect, Action, Resource } of statementsOf(resources, functionName)) {
        for (const action of Effect === "Allow" ? [Action].flat() : []) {
          const refused = [Resource].flat().filter((resource) => !allows(limit, action, resource, context));
          expect(refused, action).toEqual([]);
        }
      }
    }
  });

  it.each([
    ["iam:CreateRole", role],
    ["logs:CreateLogStream", arn("logs", "log-group:/aws/lambda/somebody-else")],
    ["secretsmanager:GetSecretValue", arn("secretsmanager", "secret:somebody-else-AbCdEf")],
    ["kms:Decrypt", key], // By itself, and not by way of Secrets Manager.
    ["rds-db:connect", arn("rds-db", "dbuser:db-ABCDEFGHIJKL/postgres")],
    ["rds-db:connect", arn("rds-db", "dbuser:db-ABCDEFGHIJKL/veza_ledger_oncall")],
  ])("does not allow %s on %s", (action, resource) => {
    expect(allows(limit, action, resource)).toBe(false);
  });
});

it.each(["deployer", "boundary"])("deploy/%s.json fits into a managed policy", async (name) => {
  const text = await readFile(`deploy/${name}.json`, "utf8");
  expect(text.replaceAll(/\s/g, "").length).toBeLessThanOrEqual(6_144);
});
