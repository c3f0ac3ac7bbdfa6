import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Context, LambdaFunctionURLEvent, LambdaFunctionURLHandler } from "aws-lambda";
import pLimit from "p-limit";

/** More than the receiver takes. A longer body is not kept: its sender need not have signed it. */
const maxRequestBytes = 512 * 1024;
const requestTimeoutMs = 10_000;
/** As the receiver's reserved concurrency on Lambda: each request may need a connection to Postgres. */
const maxAtOnce = 5;
const maxWaiting = 200;

/** Says whether it has answered a request, or left it alone. */
export type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => Promise<boolean>;

/**
 * Serves a function-URL handler on a port of 127.0.0.1, 0 for any free port: each request becomes an event of payload
 * format 2.0, as a function URL would make it. A request over 512 KiB gets 413, and a request over 10 s gets 408. The
 * handler works on five at once, as on Lambda; up to 200 wait, and more get 503. Left out: AWS' own authorisation,
 * throttling, and the handler's time-out.
 */
export async function serve(
  handler: LambdaFunctionURLHandler,
  port: number,
  answer: Answer = async () => false,
): Promise<{ url: string; stop(): Promise<void> }> {
  const limit = pLimit(maxAtOnce);
  const limits = { requestTimeout: requestTimeoutMs, connectionsCheckingInterval: 1_000 };
  const server = http.createServer(limits, async (request, response) => {
    try {
      if (await answer(request, response)) return;
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of request) {
        size += chunk.length;
        if (size > maxRequestBytes) {
          response.writeHead(413, { connection: "close" }).end();
          return;
        }
        chunks.push(chunk);
      }
      if (limit.pendingCount >= maxWaiting) {
        response.writeHead(503, { "retry-after": "5" }).end();
        return;
      }
      const event = functionUrlEvent(request, Buffer.concat(chunks));
      const result = await limit(async () => handler(event, {} as Context, () => {}));
      if (typeof result !== "object") throw new Error("the handler gave no answer");
      response.writeHead(result.statusCode ?? 200, result.headers as http.OutgoingHttpHeaders).end(result.body);
    } catch {
      // A function URL does the same when its function fails.
      if (!response.headersSent) response.writeHead(502);
      response.end();
    }
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function functionUrlEvent(request: http.IncomingMessage, body: Buffer): LambdaFunctionURLEvent {
  const { method = "GET", headers } = request;
  const [rawPath = "/", rawQueryString = ""] = (request.url ?? "/").split(/\?(.*)/s);
  const isText = /^(text\/|application\/(json|javascript|xml)\b)/.test(headers["content-type"] ?? "");
  const now = new Date();
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath,
    rawQueryString,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
    requestContext: {
      accountId: "anonymous",
      apiId: "local",
      domainName: headers.host ?? "",
      domainPrefix: "local",
      http: {
        method,
        path: rawPath,
        protocol: `HTTP/${request.httpVersion}`,
        sourceIp: request.socket.remoteAddress ?? "",
        userAgent: headers["user-agent"] ?? "",
      },
      requestId: randomUUID(),
      routeKey: "$default",
      stage: "$default",
      time: now.toISOString(),
      timeEpoch: now.getTime(),
    },
    ...(body.length > 0 && { body: body.toString(isText ? "utf8" : "base64") }),
    isBase64Encoded: body.length > 0 && !isText,
  };
}
