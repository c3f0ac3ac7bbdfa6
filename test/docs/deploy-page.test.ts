// The commands and examples of docs/deploy.md and docs/events.md, as they are printed.
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import path from "node:path";
import { expect, it } from "vitest";
import { demoSecret } from "../../commands/demo-secret.ts";
import { signedEvent } from "../helpers/lambda.ts";
import { needs } from "../helpers/needs.ts";
import { runProgram } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const page = await readFile("docs/deploy.md", "utf8");
const events = await readFile("docs/events.md", "utf8");
const example = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? "";

/** Runs commands of the page in this folder, with programs of these names that are shell scripts. */
async function runIn(folder: string, commands: string, programs: Record<string, string>) {
  const bin = await newFolder();
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(path.join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  const program = runProgram("bash", ["-uo", "pipefail", "-c", `cd '${folder}'\n${commands}`], {
    PATH: `${bin}:${process.env.PATH}`,
  });
  await program.exited;
  return program.output();
}

it(
  "makes the deployer's role and policies from the files in deploy/, with the account's number",
  await needs("bash", "perl"),
  async () => {
    const folder = await newFolder();
    await cp("deploy", path.join(folder, "deploy"), { recursive: true });
    // An adopter has run the commands already.
    const asShipped = "perl -pi -e 's/[0-9]{12}/123456789012/' deploy/*.json deploy/workflow.yml\n";
    const commands = asShipped + example(page, /```sh\n(\(set -e\naccount=[\s\S]*?)```/);
    const aws = `case "$1 $2" in
    "sts get-caller-identity") echo 210987654321 ;;
    *) echo "$*"; for word; do case $word in file://*) cat "\${word#file://}" >&2 || exit 1 ;; esac; done ;;
  esac`;
    const printed = await runIn(folder, commands, { aws });
    expect(printed.match(/^iam .*/gm)?.map((line) => line.split(" ")[1])).toEqual([
      "create-policy",
      "create-policy",
      "create-role",
      "attach-role-policy",
    ]);
    expect(printed).toContain("--policy-arn arn:aws:iam::210987654321:policy/deploy-veza-ledger-metrics");
    expect(printed).toContain("210987654321:oidc-provider");
    expect(await readFile(path.join(folder, "deploy/workflow.yml"), "utf8")).toContain("210987654321:role/deploy-veza");
    expect(printed).not.toContain("123456789012");
    expect((await readdir(path.join(folder, "deploy"))).filter((name) => name.endsWith(".bak"))).toEqual([]);
  },
);

it("deletes the files with passwords after the last block that reads them", () => {
  const [, part = ""] = page.split("\n## Log in with passwords\n");
  expect(part.indexOf("rm passwords verifiers.sql")).toBeGreaterThan(part.lastIndexOf(". ./passwords"));
  expect(part.indexOf("rm passwords verifiers.sql")).toBeGreaterThan(part.lastIndexOf("-f verifiers.sql"));
});

it("shows the smallest event that the receiver takes when it is invoked directly", () => {
  const event = JSON.parse(example(events, /```json\n(\{\n {2}"headers"[\s\S]*?)```/));
  const id = event.headers["webhook-id"];
  const atMs = Number(event.headers["webhook-timestamp"]) * 1000;
  expect(event).toEqual(signedEvent(demoSecret, "[]", { id, atMs }));
});

const signing = "has a curl example that signs for AWS, with a session's token, what the receiver needs";
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
    url,
    id: "msg_1",
    now: "1769860800",
    signature: "c2lnbmF0dXJl",
    body: "[]",
  });
  await curl.exited;
  expect([curl.child.exitCode, seen.length]).toEqual([0, 1]);
  expect(seen[0]).toMatchObject({
    authorization: expect.stringMatching(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/lambda\/aws4_request, ?SignedHeaders=\S*host;/,
    ),
    "x-amz-security-token": "session",
    "webhook-id": "msg_1",
    "webhook-timestamp": "1769860800",
    "webhook-signature": "v1,c2lnbmF0dXJl",
  });
  expect(seen[0]?.authorization).toMatch(/SignedHeaders=\S*;x-amz-security-token[;,]/);
});
