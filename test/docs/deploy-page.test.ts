// The lines of the pages about AWS, as they are printed, the role of who-may-deploy.md, and the examples of events.md.
import { readFile, writeFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import path from "node:path";
import { expect, it } from "vitest";
import { demoSecret } from "../../commands/demo-secret.ts";
import { newClone } from "../helpers/aws.ts";
import { signedEvent } from "../helpers/lambda.ts";
import { needs } from "../helpers/needs.ts";
import { blocksOf } from "../helpers/pages.ts";
import { runProgram } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";

const events = await readFile("docs/events.md", "utf8");
const example = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? "";

const pages = ["deploy", "networks", "who-may-deploy", "rotation", "alarms"];
const lines = await Promise.all(
  pages.map(async (page) => {
    const blocks = await blocksOf(`docs/${page}.md`, "sh");
    const commands = blocks.flatMap((block) => block.replaceAll("\\\n", " ").trim().split("\n"));
    return commands.map((line) => [page, line] as const);
  }),
);
const { project, run } = await newClone("prod");
await writeFile(path.join(project, "stages.yml"), "prod:\n  alarmTopicArn: none\n");
it.each(lines.flat())("docs/%s.md: %s is a command, and no program", async (_, line) => {
  expect(line).not.toMatch(/^[({]|;|&&|\|\||<<|\b(if|for|while|until|case|function|trap|eval) /);
  // The programs of the clone know it, and stop for the names that are not there; the others are words alone.
  const words = ["aws", "ssh", "gh"].map((name) => `${name}() { printf '<%s>' "$@"; }; export -f ${name}; `).join("");
  const { exitCode, output } = await run(`${words}${line.replaceAll("123456789012", "210987654321")}`);
  expect(output).not.toMatch(/usage:|not found|syntax error|still an example/);
  expect([0, 1, 130]).toContain(exitCode);
});

it("npm run aws -- role makes the role and its policies from the files in deploy/, and edits none of them", async () => {
  const clone = await newClone("prod");
  const stages = path.join(clone.project, "stages.yml");
  const role = async (rest: string) => {
    const before = (await clone.calls()).length;
    const { output } = await clone.run(`npm run aws -- role ${rest}`);
    return output + (await clone.calls()).slice(before);
  };
  const github = "prod github shop/numbers 11 22";
  expect(await role(github)).toBe("stages.yml has no block of prod: run npm run aws -- names prod\n");
  const block = (
    line = "",
  ) => `dev:\n  region: eu-west-1\n  subnetIds: subnet-12ab\n  securityGroupIds: sg-56ef\n  alarmTopicArn: none\nprod:\n${line}  region: 'eu-west-3' # near
  subnetIds: "subnet-12ab, subnet-34cd"\n  securityGroupIds: sg-12ab\n`;
  await writeFile(stages, block());
  for (const wrong of ["prod", "prod people", "prod people me", "prod github shop 11 22", "prod github shop/numbers"]) {
    expect(await role(wrong)).toMatch(/^(Write:|me is no ARN|That is no ARN)/);
  }
  const calls = (printed: string) => printed.match(/^iam (?!get|list)\S+/gm)?.map((line) => line.split(" ")[1]);
  const printed = await role(github);
  expect(calls(printed)).toEqual(["create-policy", "create-policy", "create-role", "attach-role-policy"]);
  expect(printed).toContain("--policy-arn arn:aws:iam::210987654321:policy/deploy-veza-ledger-metrics");
  expect(printed).toContain("210987654321:oidc-provider");
  expect(printed).toContain('"repo:shop@11/numbers@22:environment:prod","repo:shop/numbers:environment:prod"');
  expect(printed).toContain('"token.actions.githubusercontent.com:repository_id":"22"');
  expect(printed).toContain('"lambda:SubnetIds":["subnet-12ab","subnet-34cd"]');
  expect(printed).toContain('"lambda:SecurityGroupIds":["sg-56ef","sg-12ab"]');
  const workflow = await readFile(path.join(clone.project, ".github/workflows/deploy.yml"), "utf8");
  expect(workflow).toContain("210987654321:role/deploy-veza-ledger-metrics\n          aws-region: eu-west-3");
  expect(printed + workflow).not.toMatch(/123456789012|eu-central-1|@1234567|@7654321|"7654321"/);
  // The service's own name stays, and the regions of other stages do.
  for (const region of ["eu-west-1", "eu-west-3"]) {
    expect(printed).toContain(`arn:aws:lambda:${region}:210987654321:function:veza-ledger-metrics-*`);
  }
  const boundary = 'permissionsBoundaryArn: "arn:aws:iam::210987654321:policy/veza-ledger-metrics-boundary"';
  expect(await readFile(stages, "utf8")).toBe(block(`  ${boundary}\n`));
  // Again, after a failure or at an upgrade.
  await clone.answer("isThere", "yes");
  const again = await role(github);
  expect(await readFile(stages, "utf8")).toBe(block(`  ${boundary}\n`));
  const newVersion = ["delete-policy-version", "create-policy-version"];
  expect(calls(again)).toEqual([...newVersion, ...newVersion, "update-assume-role-policy", "attach-role-policy"]);
  expect(again).toMatch(/--version-id v3$/m);
  const people = "arn:aws:iam::210987654321:role/engineers";
  // It keeps the trust that is there, but for somebody whom AWS no longer knows, and would refuse.
  const trusted = /--assume-role-policy-document (.*)/.exec(printed)?.[1] ?? "";
  const { Statement } = JSON.parse(trusted);
  const gone = { ...Statement[0], Principal: { AWS: "AROAEXAMPLE" }, Condition: undefined };
  await clone.answer("trust", JSON.stringify({ Version: "2012-10-17", Statement: [...Statement, gone] }));
  await writeFile(stages, `${block(`  ${boundary}\n`)}staging:\n  alarmTopicArn: none\n`); // Where functions run by default.
  const now = await role(`prod people ${people}`);
  expect(now).toContain(":lambda:eu-central-1:210987654321:");
  const ofPeople = { Effect: "Allow", Action: "sts:AssumeRole", Principal: { AWS: people } };
  const documents = [...now.matchAll(/update-assume-role-policy .*--policy-document (.*)/g)].map(
    ([, text = ""]) => text,
  );
  expect(documents.map((text) => JSON.parse(text).Statement)).toEqual([[...Statement, ofPeople]]);
  expect(now).toContain("Taken out: AROAEXAMPLE");
  for (const name of ["boundary.json", "deployer.json", "trust.json", "workflow.yml"]) {
    expect(await readFile(path.join(clone.project, "deploy", name), "utf8")).toBe(
      await readFile(`deploy/${name}`, "utf8"),
    );
  }
});

it("shows the smallest event that the receiver takes when it is invoked directly", () => {
  const event = JSON.parse(example(events, /```json\n(\{\n {2}"headers"[\s\S]*?)```/));
  const id = event.headers["webhook-id"];
  const atMs = Number(event.headers["webhook-timestamp"]) * 1000;
  expect(event).toEqual(signedEvent(demoSecret, "[]", { id, atMs }));
});

const signing = "has a curl example that signs for AWS, with a session's token";
it(signing, await needs("bash", "curl"), async () => {
  const seen: IncomingHttpHeaders[] = [];
  const url = await httpServer((request, response) => {
    seen.push(request.headers);
    response.end();
  });
  const command = example(events, /```sh\n(curl .*--aws-sigv4[\s\S]*?)```/);
  const curl = runProgram("bash", ["-euo", "pipefail", "-c", command], {
    AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
    AWS_SECRET_ACCESS_KEY: "secret",
    AWS_SESSION_TOKEN: "session",
    AWS_REGION: undefined,
    RECEIVER_URL: url,
  });
  await curl.exited;
  expect([curl.child.exitCode, seen.length]).toEqual([0, 1]);
  expect(seen[0]).toMatchObject({
    authorization: expect.stringMatching(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/lambda\/aws4_request, ?SignedHeaders=\S*host;/,
    ),
    "x-amz-security-token": "session",
  });
  expect(seen[0]?.authorization).toMatch(/SignedHeaders=\S*;x-amz-security-token[;,]/);
});
