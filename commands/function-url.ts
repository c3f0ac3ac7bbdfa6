// A stand-in for Lambda's function URL: serves its handler over HTTP, on this machine.
import { once } from "node:events";
import http from "node:http";
import { type AddressInfo, isIPv6, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, LambdaFunctionURLEvent, LambdaFunctionURLHandler } from "aws-lambda";

/** More than the receiver takes. A longer body is not kept: anybody can send one, signed or not. */
export const maxRequestBytes = 512 * 1024;
/** All bodies that are kept at the same time: an eighth of MemoryMax of the unit in config/. */
const maxHeldBytes = 64 * 1024 * 1024;
const requestTimeoutMs = 10_000;
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
 * an event, as a function URL would make it. A request over 512 KiB gets 413, one over 10 s 408, one without its length
 * 411, and 503 is the answer while the bodies of all requests are over 64 MiB. A connection has one request at a time.
 * Left out: TLS, AWS' own authorisation, throttling, and the handler's time-out. Throws an Error where the port or the
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
  const busy = new WeakSet<Socket>();
  let heldBytes = 0;
  const server = http.createServer(limits, async (request, response) => {
    const { socket, headers } = request;
    const refuse = (status: number, more: http.OutgoingHttpHeaders = {}): void =>
      void response.writeHead(status, { connection: "close", ...more }).end();
    const length = Number(headers["content-length"] ?? 0);
    // Whoever sends the next request before the answer would have any number of them kept.
    if (busy.has(socket)) return void socket.destroy();
    busy.add(socket);
    let size = 0;
    try {
      if (await answer(request, response)) return;
      if (headers["transfer-encoding"]) return refuse(411);
      if (length > maxRequestBytes) return refuse(413);
      // One piece of memory: a stranger's pieces may be of a byte each, and each kept piece takes 200.
      const body = Buffer.allocUnsafeSlow(length);
      for await (const piece of request as AsyncIterable<Buffer>) {
        if (heldBytes + piece.length > maxHeldBytes) return refuse(503, { "retry-after": "5" });
        heldBytes += piece.length;
        piece.copy(body, size);
        size += piece.length;
      }
      const result = await handler(functionUrlEvent(request, body), {} as Context, () => {});
      if (typeof result !== "object") throw new Error("the handler gave no answer");
      if (!server.listening) response.setHeader("connection", "close"); // Kept alive, it would hold up the stop.
      response.writeHead(result.statusCode ?? 200, result.headers as http.OutgoingHttpHeaders).end(result.body);
    } catch {
      // A function URL answers 502 too when its function fails.
      if (!response.headersSent) response.writeHead(502);
      response.end();
    } finally {
      heldBytes -= size;
      busy.delete(socket);
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
