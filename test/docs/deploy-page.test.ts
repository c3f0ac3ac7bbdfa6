import { execFile } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { SignatureV4 } from "@smithy/signature-v4";
import type { Context, LambdaFunctionURLEvent } from "aws-lambda";
import { beforeAll, expect, inject, it, onTestFinished } from "vitest";
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

let page: string;
let events: string;
beforeAll(async () => {
  page = await readFile("docs/deploy.md", "utf8");
  events = await readFile("docs/events.md", "utf8");
});
const example = (text: string, pattern: RegExp) => pattern.exec(text)?.[1] ?? "";

it("is read in ten minutes: 250 lines of 120 characters at most, but for tables", () => {
  const lines = page.trimEnd().split("\n");
  expect(lines.length).toBeLessThanOrEqual(250);
  expect(lines.filter((line) => line.length > 120 && !line.startsWith("|"))).toEqual([]);
});

/** Runs commands of the page in this folder, with programs of these names that are shell scripts. */
async function runIn(folder: string, commands: string, programs: Record<string, string>) {
  const bin = await mkdtemp(path.join(tmpdir(), "veza-page-"));
  onTestFinished(() => rm(bin, { recursive: true }));
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
  const folder = await mkdtemp(path.join(tmpdir(), "veza-page-"));
  onTestFinished(() => rm(folder, { recursive: true }));
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
  const folder = await mkdtemp(path.join(tmpdir(), "veza-page-"));
  onTestFinished(() => rm(folder, { recursive: true }));
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

/** Node's SHA-256 in the shape that AWS' signer asks for. */
class Sha256 {
  readonly #hash;
  constructor(secret?: string | Uint8Array) {
    this.#hash = secret ? createHmac("sha256", secret) : createHash("sha256");
  }
  update(data: string | Uint8Array) {
    this.#hash.update(data);
  }
  async digest() {
    return new Uint8Array(this.#hash.digest());
  }
}

/** What AWS' own signer makes of a request. Its Authorization names the headers. */
async function expectedAuthorization({ method = "", url = "", headers }: IncomingMessage, body: string) {
  const signer = new SignatureV4({
    service: "lambda",
    region: "eu-central-1",
    credentials: { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret", sessionToken: "token" },
    sha256: Sha256 as never,
    applyChecksum: false, // Another header, which S3 alone asks for.
  });
  const names = /SignedHeaders=([^,]+)/.exec(headers.authorization ?? "")?.[1]?.split(";") ?? [];
  const day = String(headers["x-amz-date"]).replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5");
  const signed = await signer.sign(
    {
      method,
      protocol: "http:",
      hostname: "127.0.0.1",
      path: url,
      headers: Object.fromEntries(names.map((name) => [name, String(headers[name])])),
      body,
    },
    { signingDate: new Date(day), signableHeaders: new Set(names) },
  );
  return { names, authorization: signed.headers.authorization };
}

it("has a curl example whose Signature Version 4 is what AWS' own signer makes", async () => {
  const seen: { given: string | undefined; expected: string | undefined; names: string[] }[] = [];
  const url = await httpServer(async (request, response) => {
    const { names, authorization } = await expectedAuthorization(request, await text(request));
    seen.push({ given: request.headers.authorization, expected: authorization, names });
    response.end();
  });
  await promisify(execFile)(
    "bash",
    ["-euo", "pipefail", "-c", example(events, /```sh\n(curl -sS "\$url" --aws-sigv4[\s\S]*?)```/)],
    {
      env: {
        PATH: process.env.PATH,
        AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
        AWS_SECRET_ACCESS_KEY: "secret",
        AWS_SESSION_TOKEN: "token",
        url: `${url}/`,
        id: "msg_1",
        now: "1769860800",
        signature: "c2lnbmF0dXJl",
        body: "[]",
      },
    },
  );
  expect(seen).toHaveLength(1);
  const normal = (authorization = "") => authorization.replaceAll(/,\s*/g, ", ");
  expect(normal(seen[0]?.given)).toBe(normal(seen[0]?.expected));
  expect(seen[0]?.names).toEqual(expect.arrayContaining(["host", "x-amz-date", "x-amz-security-token", "webhook-id"]));
});
