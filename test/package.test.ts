import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { signedHeaders } from "../local/deliver.ts";
import { createDatabase } from "./helpers/database.ts";
import { scrape } from "./helpers/gateway.ts";
import { type Packaged, packageService, type Resources, unzip } from "./helpers/packages.ts";
import { projectFolder } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";
import { fakeSecretsManager } from "./helpers/secrets.ts";

const properties = (resources: Resources, id: string) => resources[id]?.Properties ?? {};
const policyOf = (resources: Resources, role: string) => {
  const [policy] = properties(resources, role).Policies as { PolicyDocument: { Statement: unknown[] } }[];
  return policy?.PolicyDocument.Statement;
};
const ofType = (resources: Resources, type: string) => Object.values(resources).filter(({ Type }) => Type === type);
const arn = (rest: string) => ({ "Fn::Sub": `arn:\${AWS::Partition}:${rest}` });

const stage = "artifact";
let folder: string;
let packaged: Packaged;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "veza-package-"));
  packaged = await packageService(path.join(folder, "defaults"), stage);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("with the defaults", () => {
  it("makes what the README promises of the functions, their roles and alarms", async () => {
    const { resources } = packaged;

    const shared = {
      Runtime: "nodejs24.x",
      Architectures: ["arm64"],
      MemorySize: 256,
      LoggingConfig: { LogFormat: "JSON", ApplicationLogLevel: "INFO", SystemLogLevel: "WARN" },
    };
    const environment = (name: string) => ({
      Variables: {
        SECRET_ID: `veza-ledger-metrics/artifact/${name}`,
        STAGE: "artifact",
        NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem",
      },
    });
    expect(properties(resources, "SamplerLambdaFunction")).toMatchObject({
      ...shared,
      Timeout: 25,
      Environment: environment("sampler"),
      Role: { "Fn::GetAtt": ["SamplerRole", "Arn"] },
    });
    expect(properties(resources, "ReceiverLambdaFunction")).toMatchObject({
      ...shared,
      Timeout: 15,
      ReservedConcurrentExecutions: 5,
      Environment: environment("receiver"),
      Role: { "Fn::GetAtt": ["ReceiverRole", "Arn"] },
    });
    for (const name of ["SamplerLambdaFunction", "ReceiverLambdaFunction"]) {
      expect(properties(resources, name)).not.toHaveProperty("VpcConfig");
    }

    expect(ofType(resources, "AWS::Events::Rule").map(({ Properties }) => Properties)).toMatchObject([
      {
        ScheduleExpression: "rate(1 minute)",
        State: "ENABLED",
        Targets: [{ Arn: { "Fn::GetAtt": ["SamplerLambdaFunction", "Arn"] } }],
      },
    ]);
    expect(ofType(resources, "AWS::Lambda::EventInvokeConfig").map(({ Properties }) => Properties)).toMatchObject([
      { FunctionName: { Ref: "SamplerLambdaFunction" }, MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 },
    ]);
    expect(ofType(resources, "AWS::Logs::LogGroup").map(({ Properties }) => Properties)).toEqual([
      { LogGroupName: "/aws/lambda/veza-ledger-metrics-artifact-sampler", RetentionInDays: 30 },
      { LogGroupName: "/aws/lambda/veza-ledger-metrics-artifact-receiver", RetentionInDays: 30 },
    ]);
    expect(ofType(resources, "AWS::Lambda::Version")).toEqual([]);

    const target = { "Fn::GetAtt": ["ReceiverLambdaFunction", "Arn"] };
    const [url] = ofType(resources, "AWS::Lambda::Url").map(({ Properties }) => Properties);
    expect(url).toEqual({ AuthType: "NONE", TargetFunctionArn: target }); // BUFFERED is what no InvokeMode means.
    const publicPermissions = ofType(resources, "AWS::Lambda::Permission")
      .map(({ Properties }) => Properties)
      .filter(({ Principal }) => Principal === "*");
    expect(publicPermissions).toEqual([
      { FunctionName: target, Action: "lambda:InvokeFunctionUrl", Principal: "*", FunctionUrlAuthType: "NONE" },
      { FunctionName: target, Action: "lambda:InvokeFunction", Principal: "*", InvokedViaFunctionUrl: true },
    ]);
  });

  it("lets each function write its own log and read its own secret, and nothing else", async () => {
    const { resources } = packaged;
    for (const [role, name] of [
      ["SamplerRole", "sampler"],
      ["ReceiverRole", "receiver"],
    ] as const) {
      expect(policyOf(resources, role)).toEqual([
        {
          Effect: "Allow",
          Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
          Resource: arn(
            `logs:\${AWS::Region}:\${AWS::AccountId}:log-group:/aws/lambda/veza-ledger-metrics-artifact-${name}:*`,
          ),
        },
        {
          Effect: "Allow",
          Action: "secretsmanager:GetSecretValue",
          Resource: [
            arn(`secretsmanager:\${AWS::Region}:\${AWS::AccountId}:secret:veza-ledger-metrics/artifact/${name}-??????`),
          ],
        },
      ]);
      expect(properties(resources, role)).not.toHaveProperty("ManagedPolicyArns");
    }
    expect(ofType(resources, "AWS::IAM::Role")).toHaveLength(2);
  });

  it("watches both functions from outside Prometheus", async () => {
    const { resources } = packaged;
    const alarms = ofType(resources, "AWS::CloudWatch::Alarm").map(({ Properties }) => Properties);
    const about = (name: string) => [{ Name: "FunctionName", Value: { Ref: name } }];
    const shared = { Namespace: "AWS/Lambda", Statistic: "Sum", Period: 60, Threshold: 1 };
    const above = {
      ...shared,
      ComparisonOperator: "GreaterThanOrEqualToThreshold",
      TreatMissingData: "notBreaching",
    };
    expect(alarms).toMatchObject([
      {
        ...shared,
        AlarmName: "veza-ledger-metrics-artifact-sampler-silent",
        Dimensions: about("SamplerLambdaFunction"),
        MetricName: "Invocations",
        EvaluationPeriods: 5,
        ComparisonOperator: "LessThanThreshold",
        TreatMissingData: "breaching",
      },
      { ...above, MetricName: "Errors", Dimensions: about("SamplerLambdaFunction"), DatapointsToAlarm: 3 },
      { ...above, MetricName: "Errors", Dimensions: about("ReceiverLambdaFunction"), EvaluationPeriods: 1 },
      {
        ...above,
        MetricName: "Url5xxCount",
        Dimensions: about("ReceiverLambdaFunction"),
        Period: 300,
        Threshold: 2,
        EvaluationPeriods: 1,
      },
      { ...above, MetricName: "Throttles", Dimensions: about("ReceiverLambdaFunction"), EvaluationPeriods: 1 },
      {
        ...above,
        Namespace: "veza-ledger-metrics",
        MetricName: "artifact-refused-deliveries",
        Period: 300,
        EvaluationPeriods: 1,
      },
    ]);
    for (const { AlarmDescription, AlarmActions } of alarms) {
      expect(AlarmDescription).toMatch(/\w[.?]$/);
      expect(AlarmActions).toEqual([]);
    }
  });
});

it("takes every option a deployer may set", async () => {
  const topic = "arn:aws:sns:eu-west-1:123456789012:on-call";
  const secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shared-AbCdEf";
  const key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
  const boundary = "arn:aws:iam::123456789012:policy/boundary";
  const { resources } = await packageService(path.join(folder, "options"), "dev", {
    region: "eu-west-1",
    samplerSecretId: `${secret},veza/rds`,
    receiverSecretId: "veza/receiver",
    kmsKeyArn: key,
    pushgatewayUrl: "https://push.internal/prefix",
    subnetIds: "subnet-1,subnet-2",
    securityGroupIds: "sg-1",
    alarmTopicArn: topic,
    receiverConcurrency: "off",
    urlAuthorizer: "aws_iam",
    permissionsBoundaryArn: boundary,
    tags: { team: "payments" },
  });
  for (const name of ["SamplerLambdaFunction", "ReceiverLambdaFunction"]) {
    expect(properties(resources, name)).toMatchObject({
      VpcConfig: { SubnetIds: ["subnet-1", "subnet-2"], SecurityGroupIds: ["sg-1"] },
      Environment: { Variables: { PUSHGATEWAY_URL: "https://push.internal/prefix" } },
    });
    expect(properties(resources, name)).not.toHaveProperty("ReservedConcurrentExecutions");
  }
  const [, secrets, decryption, network] = policyOf(resources, "SamplerRole") ?? [];
  expect(secrets).toMatchObject({
    Resource: [secret, arn(`secretsmanager:\${AWS::Region}:\${AWS::AccountId}:secret:veza/rds-??????`)],
  });
  expect(decryption).toEqual({ Effect: "Allow", Action: "kms:Decrypt", Resource: key });
  expect(properties(resources, "ReceiverRole")).toMatchObject({ PermissionsBoundary: boundary });
  expect(network).toEqual({
    Effect: "Allow",
    Action: [
      "ec2:AssignPrivateIpAddresses",
      "ec2:CreateNetworkInterface",
      "ec2:DeleteNetworkInterface",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
      "ec2:UnassignPrivateIpAddresses",
    ],
    Resource: "*",
  });
  expect(ofType(resources, "AWS::Lambda::Url").map(({ Properties }) => Properties)).toMatchObject([
    { AuthType: "AWS_IAM" },
  ]);
  expect(ofType(resources, "AWS::Lambda::Permission").filter(({ Properties }) => Properties.Principal === "*")).toEqual(
    [],
  );
  for (const { Properties } of ofType(resources, "AWS::CloudWatch::Alarm")) {
    expect([Properties.AlarmActions, Properties.OKActions]).toEqual([[topic], [topic]]);
  }
});

/** What a deployer reads when this cannot be packaged. */
async function refusal(...args: Parameters<typeof packageService>): Promise<string> {
  const { stdout, stderr } = await packageService(...args).then(
    () => ({ stdout: "", stderr: "" }),
    (error: { stdout: string; stderr: string }) => error,
  );
  return stdout + stderr;
}

it("names every param that is wrong, in one error, and shows no credentials", async () => {
  const printed = await refusal(path.join(folder, "wrong"), "a-stage-that-makes-a-name-over-64-characters", {
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
    "samplerSecretId must be names of secrets, or their whole ARNs",
    "receiverSecretId must be names of secrets, or their whole ARNs",
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

it.each([
  [
    "a stage that has none",
    ["staging", null, []],
    'serverless.yml has no params for the stage staging, only for dev and prod; add a block, if only "staging: {}"',
  ],
  [
    "a misspelt one",
    ["prod", { alarmTopicARN: "arn:aws:sns:eu-central-1:123456789012:on-call" }, []],
    "alarmTopicARN under params, prod, is not known: there are region, samplerSecretId,",
  ],
  [
    "one that the next deployment would forget",
    ["prod", {}, ["--param", "receiverConcurrency=off"]],
    "receiverConcurrency is given on the command line, and the next deployment would forget it: put it under params, prod",
  ],
  [
    "a region that the next deployment would forget",
    ["prod", {}, ["--region", "eu-west-1"]],
    "region is given on the command line, and the next deployment would forget it: put it under params, prod",
  ],
  [
    "a region without function URLs",
    ["prod", { region: "eu-south-2" }, []],
    "urlAuthorizer must be off in eu-south-2, which has no function URLs",
  ],
] as const)("refuses params for %s", async (name, [stage, params, args], message) => {
  expect(await refusal(path.join(folder, name), stage, params, [...args])).toContain(message);
});

it("makes no URL where none is wanted", async () => {
  const params = { region: "eu-south-2", urlAuthorizer: "off" };
  const { resources } = await packageService(path.join(folder, "no-url"), "prod", params);
  expect(ofType(resources, "AWS::Lambda::Url")).toEqual([]);
  expect(ofType(resources, "AWS::Lambda::Permission").filter(({ Properties }) => Properties.Principal === "*")).toEqual(
    [],
  );
});

it("changes nothing when the same is deployed again", async () => {
  const again = await packageService(path.join(folder, "again"), stage);
  const withoutUploads = ({ resources }: Packaged) =>
    JSON.parse(JSON.stringify(resources, (name, value) => (name === "S3Key" ? "" : value)));
  expect(withoutUploads(again)).toEqual(withoutUploads(packaged));
  for (const name of ["sampler.zip", "receiver.zip"]) {
    const [before, after] = await Promise.all([packaged, again].map((made) => readFile(path.join(made.folder, name))));
    expect(after?.equals(before as Buffer)).toBe(true);
  }
});

it("makes archives that work by themselves, with settings from Secrets Manager", async () => {
  const secret = newSecret();
  const database = await createDatabase();
  onTestFinished(() => database.admin.end());
  await database.admin`
    insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'p', now() - interval '1 hour')`;
  const { reads } = await fakeSecretsManager({
    [`veza-ledger-metrics/${stage}/sampler`]: {
      DATABASE_URL: database.samplerUrl,
      PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    },
    [`veza-ledger-metrics/${stage}/receiver`]: {
      DATABASE_URL: database.receiverUrl,
      PUSHGATEWAY_URL: inject("pushgatewayUrl"),
      WEBHOOK_SECRET: secret,
    },
  });

  /** As Lambda would: the handler and the environment of the template, in a process of its own. */
  async function invoke(name: "sampler" | "receiver", event: object): Promise<{ result: unknown; output: string }> {
    const folder = await unzip(packaged, name);
    const lambda = properties(
      packaged.resources,
      name === "sampler" ? "SamplerLambdaFunction" : "ReceiverLambdaFunction",
    );
    const { Variables } = lambda.Environment as { Variables: Record<string, string> };
    const handlerFile = path.join(folder, `${String(lambda.Handler).replace(/\.handler$/, "")}.mjs`);
    const child = spawn(process.execPath, [path.join(projectFolder, "test/programs/invoke.ts"), handlerFile], {
      cwd: folder,
      env: {
        ...Variables,
        NODE_EXTRA_CA_CERTS: undefined, // A file that only Lambda has.
        AWS_ENDPOINT_URL: process.env.AWS_ENDPOINT_URL,
        AWS_REGION: "eu-central-1",
        AWS_ACCESS_KEY_ID: "test",
        AWS_SECRET_ACCESS_KEY: "test",
        AWS_LAMBDA_LOG_FORMAT: "JSON",
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin.end(JSON.stringify(event));
    const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
    expect(errors).toBe("");
    return { result: JSON.parse(/^result (.*)$/m.exec(output)?.[1] ?? '"none"'), output };
  }

  const tick = await invoke("sampler", {});
  expect(tick.result).toEqual({
    stuck_orders: 1,
    stuck_refunds: 0,
    failed_transfers: 0,
    orphan_refunds: 0,
    pending_reversals: 0,
  });
  expect(tick.output).toContain("message: 'tick'");
  expect(await scrape(stage)).toMatchObject({ veza_ledger_stuck_orders_pending: 1 });

  const now = new Date();
  const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: now.toISOString() });
  const { result } = await invoke("receiver", {
    version: "2.0",
    requestContext: { http: { method: "POST" } },
    headers: signedHeaders(secret, "msg_1", now, body),
    body: Buffer.from(body).toString("base64"),
    isBase64Encoded: true,
  });
  expect(result).toMatchObject({ statusCode: 200, body: '{"status":"recorded","published":true}' });
  expect(await scrape(stage)).toMatchObject({ veza_reconciler_orphan_refunds_total: 1 });
  expect(reads).toEqual([`veza-ledger-metrics/${stage}/sampler`, `veza-ledger-metrics/${stage}/receiver`]);
});

it("makes archives with one small file per function, and maps for all code", async () => {
  for (const name of ["sampler", "receiver"] as const) {
    const folder = await unzip(packaged, name);
    const files = await readdir(path.join(folder, "handlers"), { recursive: true, withFileTypes: true });
    const names = files.filter((file) => file.isFile()).map((file) => file.name);
    expect(names).toContain(`${name}.mjs`);
    expect(
      names
        .filter((file) => file.endsWith(".mjs"))
        .map((file) => `${file}.map`)
        .sort(),
    ).toEqual(names.filter((file) => file.endsWith(".map")).sort());
    expect(await readdir(folder)).toEqual(["handlers"]);
  }
});
