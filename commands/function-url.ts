// A stand-in for Lambda's function URL: serves its handler by HTTP, on this machine.
import { once } from "node:events";
import http from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, LambdaFunctionURLEvent, LambdaFunctionURLHandler } from "aws-lambda";

/** More than the receiver takes. A longer body is not kept: its sender need not have signed it. */
export const maxRequestBytes = 512 * 1024;
const requestTimeoutMs = 10_000;
/** Each may hold a body of the largest size: together, half of MemoryMax of the unit in config/. */
export const maxHttpConnections = 512;

export interface Served {
  url: string;
  /** Takes no more requests. Gives those under way `timeoutMs` to end, and cuts off the rest. */
  stop(timeoutMs?: number): Promise<void>;
}

/** Answers a request and resolves to true, or leaves it alone and resolves to false. */
export type Answer = (request: http.IncomingMessage, response: http.ServerResponse) => Promise<boolean>;

/**
 * Serves a function-URL handler on a port, 0 for any free port, of this machine's address `host`. Each request becomes
 * an event, as a function URL would make it. A request over 512 KiB gets 413, and a request over 10 s gets 408. Left
 * out: TLS, AWS' own authorisation, throttling, and the handler's time-out. Throws an Error where the port or the
 * address cannot be had.
 */
export async function serve(
  handler: LambdaFunctionURLHandler,
  port: number,
  answer: Answer = async () => false,
  host = "127.0.0.1",
): Promise<Served> {
  const place = isIPv6(host) ? `[${host}]` : host;
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
      const event = functionUrlEvent(request, Buffer.concat(chunks));
      const result = await handler(event, {} as Context, () => {});
      if (typeof result !== "object") throw new Error("the handler gave no answer");
      if (!server.listening) response.setHeader("connection", "close"); // Kept alive, it would hold up the stop.
      response.writeHead(result.statusCode ?? 200, result.headers as http.OutgoingHttpHeaders).end(result.body);
    } catch {
      // A function URL answers 502 too when its function fails.
      if (!response.headersSent) response.writeHead(502);
      response.end();
    }
  });
  server.maxConnections = maxHttpConnections;
  server.listen(port, host);
  await once(server, "listening").catch((error) => {
    if (error.code === "EADDRNOTAVAIL") throw new Error(`HOST: this machine has no address ${host}`);
    if (error.code !== "EADDRINUSE") throw error;
    throw new Error(`${place}:${port} is taken: end what listens there, or set PORT to a free port`);
  });
  return {
    url: `http://${place}:${(server.address() as AddressInfo).port}/`,
    async stop(timeoutMs = 0) {
      const closed = once(server, "close");
      server.close();
      if (timeoutMs) await Promise.race([closed, sleep(timeoutMs, undefined, { ref: false })]);
      server.closeAllConnections();
    },
  };
}

/** The event that a function URL would make of a request, as far as handlers here read it: the body's very bytes. */
function functionUrlEvent({ method = "", headers }: http.IncomingMessage, body: Buffer): LambdaFunctionURLEvent {
  return {
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
    requestContext: { http: { method } },
    body: body.toString("base64"),
    isBase64Encoded: true,
  } as LambdaFunctionURLEvent;
}
