// What a deployment says that it changes, before it changes anything, and when it stops: from the template that is
// deployed. CloudFormation is played here: it hands out that template, and refuses all else.
import { cp } from "node:fs/promises";
import path from "node:path";
import { text } from "node:stream/consumers";
import { CloudFormationClient } from "@aws-sdk/client-cloudformation";
import { expect, it } from "vitest";
import Changes, { changes, type Template } from "../../deploy/changes.ts";
import { defaultPackage, runServerless, stage } from "../helpers/packages.ts";
import { awsCredentials } from "../helpers/rds.ts";
import { httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const packaged = await defaultPackage();
const topic = "arn:aws:sns:eu-central-1:123456789012:on-call";
const boundary = "arn:aws:iam::123456789012:policy/boundary";

const byDefault: Template = { Resources: packaged.resources };

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
  expect(changes(guarded(), byDefault).map(({ line }) => line)).toEqual(lost);
});

const template = JSON.stringify(guarded()).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const result = `<GetTemplateResult><TemplateBody>${template}</TemplateBody></GetTemplateResult>`;
const answers = {
  guarded: [200, `<GetTemplateResponse>${result}</GetTemplateResponse>`],
  noStack: [400, error("ValidationError", "Stack does not exist")],
  refused: [403, error("AccessDenied", "no")],
} as const;
function error(code: string, message: string) {
  return `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`;
}

/** A CloudFormation that so answers the question for the template, and refuses all else. */
async function cloudFormation(what: keyof typeof answers) {
  const [status, answer] = answers[what];
  const requests: string[] = [];
  const endpoint = await httpServer(async (request, response) => {
    const action = new URLSearchParams(await text(request)).get("Action") ?? "";
    // Who it is, Serverless asks at any time.
    if (action !== "GetCallerIdentity") requests.push(action);
    response.writeHead(action === "GetTemplate" ? status : 403).end(action === "GetTemplate" ? answer : "");
  });
  return { endpoint, requests };
}

const nobody = "alarmTopicArn is none: this stage's alarms notify nobody.";
const notDeployed = `Nothing was deployed, since stages.yml, under ${stage}, does not ask for it: add `;

it("prints what goes, and stops `serverless deploy` before anything is changed, where the stage names none of it", async () => {
  const service = path.join(await newFolder(), "service");
  await cp(path.dirname(packaged.folder), service, { recursive: true });
  await cp(packaged.folder, path.join(service, "build"), { recursive: true });
  const { endpoint: AWS_ENDPOINT_URL, requests } = await cloudFormation("guarded");
  const args = ["deploy", "--stage", stage, "--package", "build"];
  const stopped = await runServerless(service, args, { ...awsCredentials, AWS_ENDPOINT_URL }).catch((error) => error);
  const printed: string = stopped.stdout + stopped.stderr;
  for (const line of [nobody, ...lost]) expect(printed).toContain(line);
  const missing = 'subnetIds: "", permissionsBoundaryArn: "", urlAuthorizer: none, or the values from above';
  expect(printed.replaceAll(/\s+/g, " ")).toContain(notDeployed + missing);
  expect(printed).not.toContain("    at "); // A stack would hide the sentence.
  expect([stopped.code, requests]).toEqual([1, ["GetTemplate"]]);
});

it("refuses `serverless deploy function`, which would change a function without its stack", async () => {
  const service = path.join(await newFolder(), "service");
  await cp(path.dirname(packaged.folder), service, { recursive: true });
  const { endpoint: AWS_ENDPOINT_URL, requests } = await cloudFormation("guarded");
  const args = ["deploy", "function", "-f", "sampler", "--stage", stage];
  const stopped = await runServerless(service, args, { ...awsCredentials, AWS_ENDPOINT_URL }).catch((error) => error);
  const refusal = "Nothing was deployed: one function alone would differ from its stack.";
  const printed = (stopped.stdout + stopped.stderr).replaceAll(/\s+/g, " ");
  expect(printed).toContain(`${refusal} Use npm run deploy -- --stage ${stage}`);
  expect([stopped.code, requests]).toEqual([1, []]);
});

/** What the plugin prints, and its error, where a stage names these params and gets this template. */
async function deploy(what: keyof typeof answers, named: string[] = [], compiledCloudFormationTemplate = byDefault) {
  const { endpoint } = await cloudFormation(what);
  const credentials = { accessKeyId: "none", secretAccessKey: "none" };
  const client = new CloudFormationClient({ region: "eu-central-1", endpoint, credentials, maxAttempts: 1 });
  const printed: string[] = [];
  const plugin = new Changes(
    {
      service: {
        custom: { deploy: { named } },
        provider: { compiledCloudFormationTemplate },
      },
      getProvider: () => ({
        getStage: () => stage,
        naming: { getStackName: () => "stack" },
        getCloudFormationClient: async () => client,
      }),
    },
    {},
    { log: { warning: (text) => printed.push(text) } },
  );
  const stopped = await plugin.hooks["before:aws:deploy:deploy:createStack"]?.().catch(({ message }) => message);
  return { printed, stopped };
}

it("goes on where the stage names all that goes, and stops where it names some of it", async () => {
  const names = ["alarmTopicArn", "subnetIds", "permissionsBoundaryArn"];
  expect(await deploy("guarded", [...names, "urlAuthorizer"])).toEqual({ printed: [nobody, ...lost] });
  expect(await deploy("guarded", ["alarmTopicArn"], guarded())).toEqual({ printed: [] });
  const stopped = `${notDeployed}urlAuthorizer: none, or the values from above`;
  expect(await deploy("guarded", names)).toEqual({ printed: [nobody, ...lost], stopped });
});

it("says nothing of changes where there is no stack yet, and that it does not know where it may not read", async () => {
  expect(await deploy("noStack")).toEqual({ printed: [nobody] });
  const unknown = "What this changes is not known: stack cannot be read (AccessDenied).";
  expect(await deploy("refused")).toEqual({ printed: [nobody, unknown] });
});
