import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Context, LambdaFunctionURLEvent, LambdaFunctionURLHandler } from "aws-lambda";

/** What Lambda accepts as a request; it answers 413 by itself beyond that. */
const maxRequestBytes = 6 * 1024 * 1024;

/**
 * Serves a function-URL handler on a port of 127.0.0.1, 0 for any free one: each request becomes an event of payload
 * format 2.0, as a function URL would make it. Left out: AWS' own authorisation, throttling, and limits on time.
 */
export async function serve(
  handler: LambdaFunctionURLHandler,
  port: number,
): Promise<{ url: string; stop(): Promise<void> }> {
  const server = http.createServer(async (request, response) => {
    try {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of request) {
        size += chunk.length;
        if (size <= maxRequestBytes) chunks.push(chunk);
      }
      if (size > maxRequestBytes) {
        response.writeHead(413).end();
        return;
      }
      const result = await handler(functionUrlEvent(request, Buffer.concat(chunks)), {} as Context, () => {});
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
