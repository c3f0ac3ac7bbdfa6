import { execFile } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { SignatureV4 } from "@smithy/signature-v4";
import type { Context, LambdaFunctionURLEvent } from "aws-lambda";
import { beforeAll, expect, inject, it, onTestFinished } from "vitest";
import { signedHeaders } from "../commands/deliver.ts";
import { demoSecret } from "../commands/demo-receiver.ts";
import { handler } from "../handlers/receiver.ts";
import { createDatabase } from "./helpers/database.ts";
import { setEnvironment } from "./helpers/environment.ts";
import { captureLog } from "./helpers/log.ts";
import { httpServer } from "./helpers/servers.ts";

let page: string;
beforeAll(async () => {
  page = await readFile("docs/deploy.md", "utf8");
});
const example = (pattern: RegExp) => pattern.exec(page)?.[1] ?? "";

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
  const event = JSON.parse(example(/```json\n(\{\n {2}"headers"[\s\S]*?)```/));
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

it("lets the deployer do with roles what CloudFormation does to them", () => {
  const { Statement } = JSON.parse(example(/```json\n(\{\n {2}"Version"[\s\S]*?)```/));
  const [roles] = Statement.filter(({ Resource }: { Resource: unknown }) => /:role\//.test(String(Resource)));
  const patterns = roles.Action.map((action: string) => new RegExp(`^${action.replaceAll("*", ".*")}$`));
  // The handlers of AWS::IAM::Role in AWS' resource schema, for the template's properties; tags come with `tags`.
  const called = [
    ...["CreateRole", "PutRolePolicy", "GetRolePolicy", "TagRole", "UntagRole", "GetRole", "ListAttachedRolePolicies"],
    ...[
      "ListRolePolicies",
      "UpdateAssumeRolePolicy",
      "PutRolePermissionsBoundary",
      "DetachRolePolicy",
      "DeleteRolePolicy",
    ],
    ...["DeleteRole", "PassRole", "DeleteRolePermissionsBoundary"],
  ];
  const isAllowed = (action: string) => patterns.some((pattern: RegExp) => pattern.test(`iam:${action}`));
  expect(called.filter((action) => !isAllowed(action))).toEqual([]);
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
    ["-euo", "pipefail", "-c", example(/```sh\n(curl -sS "\$url" --aws-sigv4[\s\S]*?)```/)],
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
