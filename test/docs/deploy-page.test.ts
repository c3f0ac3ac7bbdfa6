// The commands and examples of docs/deploy.md and docs/events.md, as they are printed.
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { SignatureV4 } from "@smithy/signature-v4";
import type { Context, LambdaFunctionURLEvent } from "aws-lambda";
import { expect, inject, it, onTestFinished } from "vitest";
import { signedHeaders } from "../../commands/deliver.ts";
import { demoSecret } from "../../commands/demo-receiver.ts";
import { handler } from "../../handlers/receiver.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { createDatabase } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { captureLog } from "../helpers/log.ts";
import { packageService } from "../helpers/packages.ts";
import { runProgram } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";

const page = await readFile("docs/deploy.md", "utf8");
const events = await readFile("docs/events.md", "utf8");
const example = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? "";

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-page-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

/** Runs commands of the page in this folder, with programs of these names that are shell scripts. */
async function runIn(folder: string, commands: string, programs: Record<string, string>) {
  const bin = await temporaryFolder();
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
  const folder = await temporaryFolder();
  const packaged = await packageService(folder, "prod");
  const deployed = JSON.parse(await readFile(packaged.template, "utf8"));
  const commands = example(page, /```sh\n(plain\(\)[\s\S]*?)```/);
  const look = async () => {
    const file = path.join(folder, "as-deployed.json");
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
  const folder = await temporaryFolder();
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

it("shows the smallest event that the receiver takes when it is invoked directly", async () => {
  captureLog();
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  setEnvironment({
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: demoSecret,
    STAGE: "direct",
  });
  const event = JSON.parse(example(events, /```json\n(\{\n {2}"headers"[\s\S]*?)```/));
  const id = event.headers["webhook-id"];
  const at = new Date(Number(event.headers["webhook-timestamp"]) * 1000);
  expect(event.headers).toEqual({ ...signedHeaders(demoSecret, id, at, event.body), "content-type": undefined });
  const { "content-type": _, ...headers } = signedHeaders(demoSecret, id, new Date(), event.body);
  const answer = await handler({ ...event, headers } as LambdaFunctionURLEvent, {} as Context, () => {});
  expect(answer).toMatchObject({
    statusCode: 200,
    body: expect.stringMatching(/^{"status":"recorded","published":true,/),
  });
});

it("has a curl example whose Signature Version 4 is what AWS' own signer makes", async () => {
  const { sha256 } = new SecretsManagerClient({ region: "eu-central-1" }).config;
  const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret", sessionToken: "token" };
  // The header of the body's digest is S3's alone.
  const signer = new SignatureV4({
    service: "lambda",
    region: "eu-central-1",
    credentials,
    sha256,
    applyChecksum: false,
  });
  const seen: { given: string; expected: string; names: string[] }[] = [];
  const url = await httpServer(async ({ method = "", url = "", headers }, response) => {
    const given = headers.authorization ?? "";
    const names = /SignedHeaders=([^,]+)/.exec(given)?.[1]?.split(";") ?? [];
    const day = String(headers["x-amz-date"]).replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5");
    const signed = await signer.sign(
      {
        method,
        protocol: "http:",
        hostname: "127.0.0.1",
        path: url,
        headers: Object.fromEntries(names.map((name) => [name, String(headers[name])])),
        body: "[]",
      },
      { signingDate: new Date(day), signableHeaders: new Set(names) },
    );
    seen.push({ given, expected: signed.headers.authorization ?? "", names });
    response.end();
  });
  const curl = example(events, /```sh\n(curl -sS "\$url" --aws-sigv4[\s\S]*?)```/);
  const { PATH } = process.env;
  const AWS = {
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_SESSION_TOKEN: credentials.sessionToken,
  };
  const message = { id: "msg_1", now: "1769860800", signature: "c2lnbmF0dXJl", body: "[]" };
  const env = { PATH, ...AWS, ...message, url: `${url}/` };
  await promisify(execFile)("bash", ["-euo", "pipefail", "-c", curl], { env });
  expect(seen).toHaveLength(1);
  const [{ given = "", expected = "", names } = {}] = seen;
  const normal = (authorization: string) => authorization.replaceAll(/,\s*/g, ", ");
  expect(normal(given)).toBe(normal(expected));
  expect(names).toEqual(expect.arrayContaining(["host", "x-amz-date", "x-amz-security-token", "webhook-id"]));
});
