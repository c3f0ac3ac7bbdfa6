import { once } from "node:events";
import { readFile } from "node:fs/promises";
import https from "node:https";
import type net from "node:net";
import { buffer } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import type { Certificates } from "./certificates.ts";

/** A server behind TLS, on a port of its own: what comes is handed on, and so is the answer, if there is one. */
export async function startTlsFront(url: string, { key, cert }: Certificates): Promise<{ port: number }> {
  const front = https.createServer(
    { key: await readFile(key), cert: await readFile(cert) },
    async (request, response) => {
      try {
        const { method = "", url: path = "" } = request;
        const body = await buffer(request);
        const answer = await fetch(url + path, { method, ...(body.length > 0 && { body }) });
        response.writeHead(answer.status).end(await answer.text());
      } catch {
        response.destroy();
      }
    },
  );
  front.listen(0, "127.0.0.1");
  await once(front, "listening");
  onTestFinished(() => {
    front.close();
    front.closeAllConnections();
  });
  return { port: (front.address() as net.AddressInfo).port };
}
