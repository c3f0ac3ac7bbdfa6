// What a deployment says that it changes, before it changes anything: from the template that is deployed. CloudFormation
// is played here: it hands out that template, and refuses all else.
import { cp } from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { changes, type Template } from "../../deploy/changes.ts";
import { defaultPackage, runServerless, stage } from "../helpers/packages.ts";
import { awsCredentials } from "../helpers/rds.ts";
import { httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const packaged = await defaultPackage();
const topic = "arn:aws:sns:eu-central-1:123456789012:on-call";
const boundary = "arn:aws:iam::123456789012:policy/boundary";

/** The default template as a stage has it that is in a VPC, notifies a topic and has a boundary and a URL with IAM. */
function guarded(): Template {
  const Resources = structuredClone(packaged.resources);
  for (const { Type, Properties } of Object.values(Resources)) {
    if (Type === "AWS::Lambda::Function")
      Properties.VpcConfig = { SubnetIds: ["subnet-1"], SecurityGroupIds: ["sg-1"] };
    if (Type === "AWS::CloudWatch::Alarm") Properties.AlarmActions = [topic];
    if (Type === "AWS::IAM::Role") Properties.PermissionsBoundary = boundary;
    if (Type === "AWS::Lambda::Url") Properties.AuthType = "AWS_IAM";
  }
  return { Resources };
}

const lost = [
  "This changes the functions' subnets and security groups: from subnet-1, sg-1 to none.",
  `This changes whom the alarms notify: from ${topic} to none.`,
  `This changes the roles' permissions boundary: from ${boundary} to none.`,
  "This changes the authorisation of the receiver's URL: from AWS_IAM to NONE.",
];

it("says nothing of a first deployment, nor of one that changes none of it", () => {
  const bucketAlone = { Resources: { ServerlessDeploymentBucket: { Type: "AWS::S3::Bucket" } } };
  expect(changes({}, guarded())).toEqual([]);
  expect(changes(bucketAlone, guarded())).toEqual([]);
  expect(changes(guarded(), guarded())).toEqual([]);
  expect(changes(guarded(), { Resources: packaged.resources })).toEqual(lost);
});

/** What `serverless deploy` prints where CloudFormation answers so to its first request: how, and which that was. */
async function deploy(status: number, answer: string): Promise<{ printed: string; first: string }> {
  const service = path.join(await newFolder(), "service");
  await cp(path.dirname(packaged.folder), service, { recursive: true });
  await cp(packaged.folder, path.join(service, "build"), { recursive: true });
  const requests: string[] = [];
  const AWS_ENDPOINT_URL = await httpServer(async (request, response) => {
    requests.push(new URLSearchParams(await text(request)).get("Action") ?? "");
    response.writeHead(requests.length === 1 ? status : 403).end(requests.length === 1 ? answer : "");
  });
  const args = ["deploy", "--stage", stage, "--package", "build"];
  const deployed = runServerless(service, args, { ...awsCredentials, AWS_ENDPOINT_URL });
  const { stdout, stderr } = await deployed.then(
    () => ({ stdout: "", stderr: "it was deployed" }),
    (error) => error,
  );
  return { printed: stdout + stderr, first: requests[0] ?? "" };
}

it("reads the deployed template first, and prints what goes, and that the alarms notify nobody", async () => {
  const template = JSON.stringify(guarded()).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const result = `<GetTemplateResult><TemplateBody>${template}</TemplateBody></GetTemplateResult>`;
  const { printed, first } = await deploy(200, `<GetTemplateResponse>${result}</GetTemplateResponse>`);
  expect(first).toBe("GetTemplate");
  for (const line of ["alarmTopicArn is none: this stage's alarms notify nobody.", ...lost])
    expect(printed).toContain(line);
});

it("says nothing of changes where there is no stack yet", async () => {
  const error = "<Error><Type>Sender</Type><Code>ValidationError</Code><Message>Stack does not exist</Message></Error>";
  const { printed } = await deploy(400, `<ErrorResponse>${error}</ErrorResponse>`);
  expect(printed).toContain("this stage's alarms notify nobody");
  expect(printed).not.toContain("This changes");
  expect(printed).not.toContain("What this changes");
});

it("says that it does not know, where the deployer may not read the template", async () => {
  const error = "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>";
  const { printed } = await deploy(403, `<ErrorResponse>${error}</ErrorResponse>`);
  const stack = `veza-ledger-metrics-${stage}`;
  expect(printed).toContain(`What this changes is not known: ${stack} cannot be read (AccessDenied`);
});
