// The commands and examples of docs/deploy.md and docs/events.md, as they are printed.
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SignatureV4 } from "@smithy/signature-v4";
import { expect, it } from "vitest";
import { demoSecret } from "../../commands/demo-receiver.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { signedEvent } from "../helpers/lambda.ts";
import { packageService } from "../helpers/packages.ts";
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

const jq = await findOnPath(["jq"]);
it.skipIf(!jq)("shows a change of the template before it is deployed, and nothing where there is none", async () => {
  const packaged = await packageService("prod");
  const deployed = JSON.parse(await readFile(packaged.template, "utf8"));
  const commands = example(page, /```sh\n(plain\(\)[\s\S]*?)```/);
  const look = async () => {
    const file = path.join(packaged.folder, "as-deployed.json");
    await writeFile(file, JSON.stringify(deployed));
    // Stand in for AWS' command line, and for packaging, which has been done.
    return await runIn(path.dirname(packaged.folder), commands, { aws: `cat '${file}'`, npm: "" });
  };
  deployed.Resources.SamplerLambdaFunction.Properties.Code.S3Key = "as/it/was.zip";
  expect(await look()).toBe("nothing but code\n");
  deployed.Resources.SamplerLambdaFunction.Properties.MemorySize = 128;
  expect(await look()).toMatch(/^\d+c\d+\n< +"MemorySize": 128,\n---\n> +"MemorySize": 256,\n$/);
});

it("makes the deployer's role and policies from the files in deploy/, with the account's number", async () => {
  const folder = await newFolder();
  await cp("deploy", path.join(folder, "deploy"), { recursive: true });
  const commands = example(page, /```sh\n(account=[\s\S]*?)```/);
  const aws = `case "$1 $2" in
    "sts get-caller-identity") echo 210987654321 ;;
    *) echo "$*"; for word; do case $word in file://*) cat "\${word#file://}" >&2 || exit 1 ;; esac; done ;;
  esac`;
  const printed = await runIn(folder, commands, { aws });
  expect(printed.match(/^iam .*/gm)?.map((line) => line.split(" ")[1])).toEqual([
    ...["create-policy", "create-policy", "create-role", "attach-role-policy"],
  ]);
  expect(printed).toContain("--policy-arn arn:aws:iam::210987654321:policy/deploy-veza-ledger-metrics");
  expect(printed).toContain("210987654321:oidc-provider");
  expect(await readFile(path.join(folder, "deploy/workflow.yml"), "utf8")).toContain("210987654321:role/deploy-veza");
  expect(printed).not.toContain("123456789012");
  expect((await readdir(path.join(folder, "deploy"))).filter((name) => name.endsWith(".bak"))).toEqual([]);
});

it("shows the smallest event that the receiver takes when it is invoked directly", () => {
  const event = JSON.parse(example(events, /```json\n(\{\n {2}"headers"[\s\S]*?)```/));
  const id = event.headers["webhook-id"];
  const atMs = Number(event.headers["webhook-timestamp"]) * 1000;
  expect(event).toEqual(signedEvent(demoSecret, "[]", { id, atMs }));
});

it("has a curl example whose Signature Version 4 is what AWS' own signer makes", async () => {
  const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret", sessionToken: "token" };
  const { sha256 } = new SecretsManagerClient({ region: "eu-central-1" }).config;
  // The header of the body's digest is S3's alone.
  const own = { service: "lambda", region: "eu-central-1", applyChecksum: false };
  const signer = new SignatureV4({ ...own, credentials, sha256 });
  const seen: { given: string | undefined; expected: string | undefined; names: string[] }[] = [];
  const url = await httpServer(async (request, response) => {
    const given = request.headers.authorization?.replaceAll(/,\s*/g, ", ");
    const names = /SignedHeaders=([^,]+)/.exec(given ?? "")?.[1]?.split(";") ?? [];
    const headers = Object.fromEntries(names.map((name) => [name, String(request.headers[name])]));
    const at = headers["x-amz-date"]?.replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5") ?? "";
    const signed = await signer.sign(
      { method: "POST", protocol: "http:", hostname: "127.0.0.1", path: "/", headers, body: "[]" },
      { signingDate: new Date(at), signableHeaders: new Set(names) },
    );
    seen.push({ given, expected: signed.headers.authorization, names });
    response.end();
  });
  const curl = runProgram(
    "bash",
    ["-euo", "pipefail", "-c", example(events, /```sh\n(curl .*--aws-sigv4[\s\S]*?)```/)],
    {
      AWS_REGION: undefined,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      AWS_SESSION_TOKEN: credentials.sessionToken,
      ...{ url: `${url}/`, id: "msg_1", now: "1769860800", signature: "c2lnbmF0dXJl", body: "[]" },
    },
  );
  await curl.exited;
  expect([curl.child.exitCode, seen.length]).toEqual([0, 1]);
  expect(seen[0]?.given).toBe(seen[0]?.expected);
  const signed = ["host", "x-amz-date", "x-amz-security-token", "webhook-id"];
  expect(seen[0]?.names).toEqual(expect.arrayContaining(signed));
});
