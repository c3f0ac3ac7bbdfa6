import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { RegoEngine, TemplateFile } from "@aws/cloudformation-validate";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { type Alarm, extraPeriods, stateOf } from "../helpers/alarm.ts";
import { type Packaged, packageService, type Resources, untilWeEnd, unzip } from "../helpers/packages.ts";
import { isAlive, runProgram } from "../helpers/processes.ts";

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

/** What is wrong with a template by the schemas that AWS publishes for its resources, and by cfn-lint's rules. */
function findings(template: string): string[] {
  const engine = new RegoEngine();
  try {
    const { metadata, diagnostics } = engine.validateStandard(new TemplateFile(template), {
      severityLevel: "ERROR",
      pseudoParameterOverrides: { region: "eu-central-1" },
    });
    expect(metadata.resourcesScanned).toBeGreaterThan(10);
    return diagnostics.map(({ entity, propertyPath, message }) => `${entity?.logicalId} ${propertyPath}: ${message}`);
  } finally {
    engine.free();
  }
}

describe("with the defaults", () => {
  it("makes resources that AWS' own schemas accept", async () => {
    expect(findings(packaged.template)).toEqual([]);
    const wrong = path.join(folder, "wrong.json");
    const text = await readFile(packaged.template, "utf8");
    await writeFile(wrong, text.replace('"FilterPattern"', '"Pattern"'));
    expect(findings(wrong)).toEqual([
      "ReceiverUnconfirmed Properties.Pattern: Additional properties are not allowed ('Pattern' was unexpected)",
      "ReceiverUnconfirmed Properties: 'FilterPattern' is a required property",
    ]);
  });

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
      ReservedConcurrentExecutions: 1,
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
    expect(alarms.map(({ AlarmName }) => AlarmName)).toEqual(
      [
        ...["sampler-silent", "sampler-errors", "receiver-errors", "receiver-throttles", "receiver-unavailable"],
        ...["receiver-refusals", "receiver-mismatches", "old-secrets"],
      ].map((name) => `veza-ledger-metrics-artifact-${name}`),
    );
    for (const { AlarmDescription, AlarmActions } of alarms) {
      expect(AlarmDescription).toMatch(/\w[.?]$/);
      expect(AlarmActions).toEqual([]);
    }
  });

  const alarm = (id: string) => packaged.resources[id]?.Properties as unknown as Alarm;
  const minutes = (count: number, value?: number) => Array(count).fill(value);

  it.each(extraPeriods)("raises the alarm on a silent sampler, if CloudWatch looks at %i periods more", (extra) => {
    const silent = alarm("SamplerSilentAlarm");
    const latest = 5 + extra;
    expect(stateOf(silent, minutes(latest), extra)).toBe("ALARM"); // It never ran, or was silent before the alarm.
    expect(stateOf(silent, [...minutes(60), 1], extra)).toBe("OK"); // A new stack, after its first tick.
    const running = minutes(60, 1);
    expect(stateOf(silent, [...running, ...minutes(4)], extra)).toBe("OK");
    for (const silence of [latest, 30, 600]) {
      expect(stateOf(silent, [...running, ...minutes(silence)], extra)).toBe("ALARM");
    }
    // A sampler that stops while CloudWatch itself has nothing to show.
    expect(stateOf(silent, [1, 1, ...minutes(28), ...minutes(1)], extra)).toBe("ALARM");
    expect(stateOf(silent, [...running, ...minutes(600), 1], extra)).toBe("OK");
  });

  it.each(extraPeriods)("raises no alarm on a burst, if CloudWatch looks at %i periods more", (extra) => {
    const throttles = alarm("ReceiverThrottlesAlarm");
    expect(stateOf(throttles, [...minutes(20), 50, 50], extra)).toBe("OK");
    expect(stateOf(throttles, [...minutes(20), 1, undefined, 1, 1], extra)).toBe("ALARM");
    const mismatches = alarm("ReceiverMismatchesAlarm");
    expect(stateOf(mismatches, [...minutes(20), 5, 5], extra)).toBe("OK");
    expect(stateOf(mismatches, [...minutes(20), 1, 1, 1], extra)).toBe("ALARM");
  });
});

it("takes every option a deployer may set", async () => {
  const topic = "arn:aws:sns:eu-west-1:123456789012:on-call";
  const secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shared-AbCdEf";
  const key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
  const boundary = "arn:aws:iam::123456789012:policy/boundary";
  const { resources, template } = await packageService(path.join(folder, "options"), "dev", {
    region: "eu-west-1",
    samplerSecretId: `${secret},veza/rds`,
    receiverSecretId: "veza/receiver",
    kmsKeyArn: key,
    pushgatewayUrl: "https://push.internal/prefix",
    subnetIds: "subnet-0123abcd,subnet-4567abcd",
    securityGroupIds: "sg-0123abcd",
    alarmTopicArn: topic,
    receiverConcurrency: "off",
    urlAuthorizer: "aws_iam",
    permissionsBoundaryArn: boundary,
    tags: { team: "payments" },
  });
  expect(findings(template)).toEqual([]);
  for (const name of ["SamplerLambdaFunction", "ReceiverLambdaFunction"]) {
    expect(properties(resources, name)).toMatchObject({
      VpcConfig: { SubnetIds: ["subnet-0123abcd", "subnet-4567abcd"], SecurityGroupIds: ["sg-0123abcd"] },
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

it("lets each function log in by IAM as its own role alone, and the sampler without a secret", async () => {
  const { resources, template } = await packageService(path.join(folder, "iam"), "dev", {
    databaseUrl: "postgres://ledger.cluster-abc.eu-central-1.rds.amazonaws.com:5432/ledger",
    databaseResourceId: "cluster-ABCDEFGHIJKL",
    pushgatewayUrl: "https://push.internal",
    samplerSecretId: "",
    kmsKeyArn: "arn:aws:kms:eu-central-1:123456789012:key/1234abcd",
  });
  expect(findings(template)).toEqual([]);
  const actions = {
    sampler: ["rds-db:connect"],
    receiver: ["rds-db:connect", "secretsmanager:GetSecretValue", "kms:Decrypt"],
  };
  for (const [name, [id, role]] of Object.entries({
    sampler: ["SamplerLambdaFunction", "SamplerRole"],
    receiver: ["ReceiverLambdaFunction", "ReceiverRole"],
  } as const)) {
    const { Variables } = properties(resources, id).Environment as { Variables: Record<string, string> };
    expect(Variables).toMatchObject({
      DATABASE_URL: `postgres://veza_ledger_${name}@ledger.cluster-abc.eu-central-1.rds.amazonaws.com:5432/ledger`,
      PUSHGATEWAY_URL: "https://push.internal",
    });
    expect("SECRET_ID" in Variables).toBe(name === "receiver");
    const [, ...statements] = policyOf(resources, role) as { Action: string; Resource: unknown }[];
    expect(statements.map(({ Action }) => Action)).toEqual(actions[name as keyof typeof actions]);
    const user = `cluster-ABCDEFGHIJKL/veza_ledger_${name}`;
    expect(statements[0]?.Resource).toEqual(arn(`rds-db:\${AWS::Region}:\${AWS::AccountId}:dbuser:${user}`));
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

it.each([
  [
    "a stage that has none",
    ["staging", null, []],
    'serverless.yml has params for dev and prod, and none for the stage staging; add at least "staging: {}"',
  ],
  [
    "a misspelt one",
    ["prod", { alarmTopicARN: "arn:aws:sns:eu-central-1:123456789012:on-call" }, []],
    "alarmTopicARN under params, prod, is not known: use region, databaseUrl,",
  ],
  [
    "one that the next deployment would forget",
    ["prod", {}, ["--param", "receiverConcurrency=off"]],
    "receiverConcurrency is set on the command line, which the next deployment forgets: set it under params, prod",
  ],
  [
    "a region that the next deployment would forget",
    ["prod", {}, ["--region", "eu-west-1"]],
    "region is set on the command line, which the next deployment forgets: set it under params, prod",
  ],
  [
    "no password and nowhere to log in",
    ["prod", { databaseUrl: "postgres://db.internal/ledger" }, []],
    "databaseUrl needs databaseResourceId, where the functions may log in without a password",
  ],
  [
    "a password, or no TLS",
    ["prod", { databaseUrl: "postgres://u:hunter2@db/l?sslmode=disable", databaseResourceId: "*" }, []],
    "databaseUrl must be like postgres://host:5432/database, without user and password, and with TLS; " +
      "databaseResourceId",
  ],
  [
    "a sampler that lacks settings",
    ["prod", { samplerSecretId: "", pushgatewayUrl: "https://push.internal" }, []],
    "samplerSecretId may be empty only with databaseUrl and pushgatewayUrl",
  ],
] as const)("refuses params for %s", async (name, [stage, params, args], message) => {
  expect(await refusal(path.join(folder, name), stage, params, [...args])).toContain(message);
});

it("makes no URL where none is wanted", async () => {
  const { resources } = await packageService(path.join(folder, "no-url"), "prod", { urlAuthorizer: "off" });
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

it("ends a packaging with the process that waits for it, even by SIGKILL", async () => {
  const script = `const args = ["-c", process.argv[1], "sh", "sh", "-c", "echo $$ >&2; exec sleep 1000"];
    require("node:child_process").execFile("/bin/sh", args).stderr.pipe(process.stdout);`;
  const waiting = runProgram(process.execPath, ["-e", script, untilWeEnd], {});
  const pid = Number(await waiting.printed(/^(\d+)\n/));
  onTestFinished(() => void (isAlive(pid) && process.kill(pid, "SIGKILL")));
  expect(isAlive(pid)).toBe(true);
  waiting.child.kill("SIGKILL");
  await expect.poll(() => isAlive(pid)).toBe(false);
});

it("leaves nothing in the temporary folder", async () => {
  expect(await readdir(packaged.temporary)).toEqual([]);
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
