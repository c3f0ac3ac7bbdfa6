// What `serverless package` makes with the default params: the template, its alarms, and the archives.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { type Alarm, extraPeriods, stateOf } from "../helpers/alarm.ts";
import { functionIn, type Packaged, packageService, untilWeEnd, unzip } from "../helpers/packages.ts";
import { isAlive, runProgram } from "../helpers/processes.ts";
import { ofType, ownArn, publicPermissions, roleOf, statementsOf } from "../helpers/resources.ts";

const stage = "artifact";
const names = ["sampler", "receiver"] as const;
let folder: string;
let packaged: Packaged;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "veza-package-"));
  packaged = await packageService(path.join(folder, "defaults"), stage);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it.each([
  ["sampler", 25, 1],
  ["receiver", 15, 5],
] as const)("makes the %s as the README promises", (name, Timeout, ReservedConcurrentExecutions) => {
  const { resources } = packaged;
  expect(functionIn(packaged, name)).toMatchObject({
    Runtime: "nodejs24.x",
    Architectures: ["arm64"],
    MemorySize: 256,
    LoggingConfig: { LogFormat: "JSON", ApplicationLogLevel: "INFO", SystemLogLevel: "WARN" },
    Timeout,
    ReservedConcurrentExecutions,
    Environment: {
      Variables: {
        SECRET_ID: `veza-ledger-metrics/artifact/${name}`,
        STAGE: "artifact",
        NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem",
      },
    },
    Role: { "Fn::GetAtt": [name === "sampler" ? "SamplerRole" : "ReceiverRole", "Arn"] },
  });
  expect(functionIn(packaged, name)).not.toHaveProperty("VpcConfig");
  // It may write its own log and read its own secret, and nothing else.
  expect(statementsOf(resources, name)).toEqual([
    {
      Effect: "Allow",
      Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
      Resource: ownArn("logs", `log-group:/aws/lambda/veza-ledger-metrics-artifact-${name}:*`),
    },
    {
      Effect: "Allow",
      Action: "secretsmanager:GetSecretValue",
      Resource: [ownArn("secretsmanager", `secret:veza-ledger-metrics/artifact/${name}-??????`)],
    },
  ]);
  expect(roleOf(resources, name)).not.toHaveProperty("ManagedPolicyArns");
  expect(ofType(resources, "AWS::IAM::Role")).toHaveLength(2);
});

it("calls the sampler every minute, and the receiver by its URL", () => {
  const { resources } = packaged;
  const rule = { ScheduleExpression: "rate(1 minute)", State: "ENABLED" };
  const Targets = [{ Arn: { "Fn::GetAtt": ["SamplerLambdaFunction", "Arn"] } }];
  expect(ofType(resources, "AWS::Events::Rule")).toMatchObject([{ ...rule, Targets }]);
  expect(ofType(resources, "AWS::Lambda::EventInvokeConfig")).toMatchObject([
    { FunctionName: { Ref: "SamplerLambdaFunction" }, MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 },
  ]);
  expect(ofType(resources, "AWS::Logs::LogGroup")).toEqual(
    names.map((name) => ({ LogGroupName: `/aws/lambda/veza-ledger-metrics-artifact-${name}`, RetentionInDays: 30 })),
  );
  expect(ofType(resources, "AWS::Lambda::Version")).toEqual([]);
  const target = { "Fn::GetAtt": ["ReceiverLambdaFunction", "Arn"] };
  // BUFFERED is what no InvokeMode means.
  expect(ofType(resources, "AWS::Lambda::Url")).toEqual([{ AuthType: "NONE", TargetFunctionArn: target }]);
  expect(publicPermissions(resources)).toEqual([
    { FunctionName: target, Action: "lambda:InvokeFunctionUrl", Principal: "*", FunctionUrlAuthType: "NONE" },
    { FunctionName: target, Action: "lambda:InvokeFunction", Principal: "*", InvokedViaFunctionUrl: true },
  ]);
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

it("has the alarms that the docs name", async () => {
  const named = (await readFile("docs/deploy.md", "utf8")).matchAll(/^\| `((?:sampler|receiver|old)-\w+)` \|/gm);
  const alarms = ofType(packaged.resources, "AWS::CloudWatch::Alarm").map(({ AlarmName }) => AlarmName);
  expect(alarms.sort()).toEqual([...named].map(([, name]) => `veza-ledger-metrics-artifact-${name}`).sort());
});

it("changes nothing when the same is deployed again", async () => {
  const again = await packageService(path.join(folder, "again"), stage);
  const withoutUploads = ({ resources }: Packaged) =>
    JSON.parse(JSON.stringify(resources, (name, value) => (name === "S3Key" ? "" : value)));
  expect(withoutUploads(again)).toEqual(withoutUploads(packaged));
  for (const name of names) {
    const [before, after] = await Promise.all(
      [packaged, again].map((made) => readFile(path.join(made.folder, `${name}.zip`))),
    );
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

it.each(names)("makes an archive of one small file for the %s, and maps for all code", async (name) => {
  const folder = await unzip(packaged, name);
  const all = await readdir(path.join(folder, "handlers"), { recursive: true, withFileTypes: true });
  const files = all.flatMap((file) => (file.isFile() ? [file.name] : []));
  expect(files).toContain(`${name}.mjs`);
  const code = files.filter((file) => file.endsWith(".mjs"));
  expect(files.filter((file) => file.endsWith(".map")).sort()).toEqual(code.map((file) => `${file}.map`).sort());
  expect(await readdir(folder)).toEqual(["handlers"]);
});
