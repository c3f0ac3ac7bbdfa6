// What `serverless package` makes with the default params: the template, its alarms, and the archives.
import { cp, readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { expect, it } from "vitest";
import { maxConnections } from "../../lib/limits.ts";
import manifest from "../../package.json" with { type: "json" };
import { defaultPackage, functionIn, runServerless, stage, unzip } from "../helpers/packages.ts";
import { arn, ofType, publicPermissions, roleIn, statementsOf } from "../helpers/resources.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const names = ["sampler", "receiver"] as const;
const packaged = await defaultPackage();

it.each([
  ["sampler", 25, 1],
  ["receiver", 15, maxConnections],
] as const)("makes the %s as the README promises", (name, Timeout, ReservedConcurrentExecutions) => {
  const { resources } = packaged;
  expect(functionIn(packaged, name)).toMatchObject({
    LoggingConfig: { LogFormat: "JSON", ApplicationLogLevel: "INFO", SystemLogLevel: "WARN" },
    Timeout,
    ReservedConcurrentExecutions,
    Environment: {
      Variables: {
        SECRET_ID: `veza-ledger-metrics/${stage}/${name}`,
        STAGE: stage,
        VERSION: manifest.version,
        NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem",
      },
    },
    Role: { "Fn::GetAtt": [name === "sampler" ? "SamplerRole" : "ReceiverRole", "Arn"] },
  });
  expect(functionIn(packaged, name)).not.toHaveProperty("VpcConfig");
  // It may write its own log and read its own secret, and nothing else: the last two, of networks, are Lambda's alone.
  expect(statementsOf(resources, name).slice(0, -2)).toEqual([
    {
      Effect: "Allow",
      Action: ["logs:CreateLogStream", "logs:PutLogEvents"],
      Resource: arn("logs", `log-group:/aws/lambda/veza-ledger-metrics-${stage}-${name}:*`),
    },
    {
      Effect: "Allow",
      Action: "secretsmanager:GetSecretValue",
      Resource: [arn("secretsmanager", `secret:veza-ledger-metrics/${stage}/${name}-??????`)],
    },
  ]);
  expect(roleIn(resources, name)).not.toHaveProperty("ManagedPolicyArns");
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
  const target = { "Fn::GetAtt": ["ReceiverLambdaFunction", "Arn"] };
  // BUFFERED is what no InvokeMode means.
  expect(ofType(resources, "AWS::Lambda::Url")).toEqual([{ AuthType: "NONE", TargetFunctionArn: target }]);
  expect(publicPermissions(resources)).toEqual([
    { FunctionName: target, Action: "lambda:InvokeFunctionUrl", Principal: "*", FunctionUrlAuthType: "NONE" },
    { FunctionName: target, Action: "lambda:InvokeFunction", Principal: "*", InvokedViaFunctionUrl: true },
  ]);
});

it("has the alarms that the docs name", async () => {
  const named = (await readFile("docs/alarms.md", "utf8")).matchAll(/^\| `((?:sampler-|receiver-)?\w+)` \|/gm);
  const alarms = ofType(packaged.resources, "AWS::CloudWatch::Alarm");
  const expected = [...named].map(([, name]) => `veza-ledger-metrics-${stage}-${name}`);
  expect(alarms.map(({ AlarmName }) => AlarmName).sort()).toEqual(expected.sort());
});

it.each(names)("makes an archive of one small file for the %s, and maps for all code", async (name) => {
  const folder = await unzip(packaged, name);
  const all = await readdir(path.join(folder, "handlers"), { recursive: true, withFileTypes: true });
  const files = all.flatMap((file) => (file.isFile() ? [file.name] : []));
  const code = files.filter((file) => file.endsWith(".mjs"));
  const { size } = await stat(path.join(folder, "handlers", `${name}.mjs`));
  expect(size, "of the handler, without the SDK and the driver").toBeLessThan(150_000);
  expect(files.sort()).toEqual(code.flatMap((file) => [file, `${file}.map`]).sort());
  expect(await readdir(folder)).toEqual(["handlers"]);
  // Lambda reads them as another user. In a zip's directory, the second byte after an entry's mark is 3, for Unix: only
  // then do the permissions count, which come 36 bytes after it.
  const zip = await readFile(path.join(packaged.folder, `${name}.zip`), "latin1");
  const modes = zip
    .split("PK\x01\x02")
    .slice(1)
    .map((entry) => [entry.charCodeAt(1), (entry.charCodeAt(36) + 256 * entry.charCodeAt(37)).toString(8)]);
  expect(modes).toEqual(files.map(() => [3, "100644"]));
});

it("refuses a stage without a block by a sentence, and makes nothing", async () => {
  const service = path.join(await newFolder(), "service");
  const isCopied = (file: string) => path.basename(file) !== ".serverless";
  await cp(path.dirname(packaged.folder), service, { recursive: true, filter: isCopied });
  const before = await readdir(service);
  const { code, stdout, stderr } = await runServerless(service, ["package", "--stage", "prod"]).catch((error) => error);
  const sentence = "stages.yml has no block of prod: run npm run aws -- names prod";
  expect((stdout + stderr).replaceAll(/\s+/g, " ")).toContain(sentence);
  expect([code, await readdir(service)]).toEqual([1, before]);
});
