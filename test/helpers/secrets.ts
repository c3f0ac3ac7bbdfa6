import type { Socket } from "node:net";
import { json } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import { setEnvironment } from "./environment.ts";
import { httpServer } from "./servers.ts";

/**
 * Stands in for AWS Secrets Manager on 127.0.0.1, and points the SDK to it until the test is finished. It answers
 * GetSecretValue only; it leaves out signatures, permissions, versions, binary secrets and throttling.
 */
export async function fakeSecretsManager(secrets: Record<string, unknown>) {
  /** The ids that were asked for, all sockets that ever came, and an error of AWS' with which every request fails. */
  const fake = {
    reads: [] as string[],
    sockets: new Set<Socket>(),
    failure: undefined as { __type: string; message: string; status?: number } | undefined,
  };
  const url = await httpServer(async (request, response) => {
    const { SecretId: id } = (await json(request)) as { SecretId: string };
    fake.reads.push(id);
    fake.sockets.add(request.socket);
    response.setHeader("content-type", "application/x-amz-json-1.1");
    // Node keeps the text for a second, and the SDK would take a test's clock for wrong.
    response.sendDate = false;
    if (fake.failure) {
      response.writeHead(fake.failure.status ?? 400).end(JSON.stringify(fake.failure));
    } else if (id in secrets) {
      const value = secrets[id];
      response.end(JSON.stringify({ SecretString: typeof value === "string" ? value : JSON.stringify(value) }));
    } else {
      response.writeHead(400).end(JSON.stringify({ __type: "ResourceNotFoundException", message: "not there" }));
    }
  });
  setEnvironment({
    AWS_ENDPOINT_URL: url,
    AWS_REGION: "eu-central-1",
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
  });
  onTestFinished(() => setEnvironment({ AWS_ENDPOINT_URL: undefined }));
  return fake;
}
