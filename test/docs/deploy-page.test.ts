// The lines of the pages about AWS, as they are printed, the role of who-may-deploy.md, and the examples of events.md.
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
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
import { newFolder } from "../helpers/temporary-folder.ts";

const events = await readFile("docs/events.md", "utf8");
const example = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? "";

/** Runs a line in this folder, with programs of these names that are shell scripts. */
async function runIn(folder: string, line: string, programs: Record<string, string>, environment = {}) {
  const bin = await newFolder();
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(path.join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const program = runProgram("bash", ["-c", `cd '${folder}' && ${line}`], {
    PATH: `${bin}:${process.env.PATH}`,
    ...environment,
  });
  await program.exited;
  return program.output();
}

const pages = ["deploy", "passwords", "networks", "who-may-deploy", "rotation", "alarms"];
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

it("deploy/role.sh makes the role and its policies from the files in deploy/, and edits none of them", async () => {
  const folder = await newFolder();
  await cp("deploy", path.join(folder, "deploy"), { recursive: true });
  const aws = `case "$1 $2" in
    "sts get-caller-identity") echo 210987654321 ;;
    "iam get-policy" | "iam get-role") [ "$isThere" ] ;;
    "iam list-policy-versions") echo v3 v4 ;;
    *) echo "$*" >&2; for word; do case $word in file://*) cat "\${word#file://}" >&2 || exit 1 ;; esac; done ;;
  esac`;
  const role = (rest: string, isThere = "") => runIn(folder, `deploy/role.sh ${rest}`, { aws }, { isThere });
  const github = "prod github shop/numbers 11 22";
  expect(await role(github)).toBe("Nothing was changed: stages.yml has no prod yet.\n");
  for (const wrong of ["prod", "prod people", "prod people me", "prod github shop 11 22", "prod github shop/numbers"]) {
    expect(await role(wrong)).toMatch(/^(usage: |me is no ARN)/);
  }
  expect(await readdir(folder)).toEqual(["deploy"]);
  const stages = (line = "") => `dev:\n  region: eu-west-3\nprod:\n${line}  region: "eu-west-3"
  subnetIds: "subnet-12ab, subnet-34cd"\n  securityGroupIds: sg-12ab\n`;
  await writeFile(path.join(folder, "stages.yml"), stages());
  const calls = (printed: string) => printed.match(/^iam .*/gm)?.map((line) => line.split(" ")[1]);
  const printed = await role(github);
  expect(calls(printed)).toEqual(["create-policy", "create-policy", "create-role", "attach-role-policy"]);
  expect(printed).toContain("--policy-arn arn:aws:iam::210987654321:policy/deploy-veza-ledger-metrics");
  expect(printed).toContain("210987654321:oidc-provider");
  expect(printed).toContain(
    '"repo:shop@11/numbers@22:environment:prod",\n            "repo:shop/numbers:environment:prod"',
  );
  expect(printed).toContain('"token.actions.githubusercontent.com:repository_id": "22"');
  expect(printed).toContain('"lambda:SubnetIds": ["subnet-12ab","subnet-34cd"]');
  expect(printed).toContain('"lambda:SecurityGroupIds": ["sg-12ab"]');
  const workflow = await readFile(path.join(folder, ".github/workflows/deploy.yml"), "utf8");
  expect(workflow).toContain("210987654321:role/deploy-veza-ledger-metrics\n          aws-region: eu-west-3");
  expect(printed + workflow).not.toMatch(/123456789012|eu-central-1|@1234567|@7654321|"7654321"/);
  expect(printed).toContain("function:veza-ledger-metrics-*"); // The service's own name stays.
  expect(await readdir(folder)).toEqual([".github", "deploy", "stages.yml"]);
  const boundary = 'permissionsBoundaryArn: "arn:aws:iam::210987654321:policy/veza-ledger-metrics-boundary"';
  const withBoundary = stages(`  ${boundary}\n`);
  expect(await readFile(path.join(folder, "stages.yml"), "utf8")).toBe(withBoundary);
  // Again, after a failure or at an upgrade.
  const again = await role(github, "yes");
  expect(await readFile(path.join(folder, "stages.yml"), "utf8")).toBe(withBoundary);
  const newVersion = ["delete-policy-version", "delete-policy-version", "create-policy-version"];
  expect(calls(again)).toEqual([...newVersion, ...newVersion, "update-assume-role-policy", "attach-role-policy"]);
  const people = "arn:aws:iam::210987654321:role/engineers";
  expect(await role(`prod people ${people}`)).toContain(`"Principal": { "AWS": "${people}" }`);
  for (const file of await readdir("deploy")) {
    expect(await readFile(path.join(folder, "deploy", file), "utf8")).toBe(await readFile(`deploy/${file}`, "utf8"));
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
