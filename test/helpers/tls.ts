import { readFile } from "node:fs/promises";
import net from "node:net";
import { pipeline } from "node:stream";
import tls from "node:tls";
import type { Certificates } from "./certificates.ts";
import { tcpServer } from "./servers.ts";

/** A server with TLS, in front of a URL's port on 127.0.0.1; gone with the test. */
export async function startTlsFront(url: string, { key, cert }: Certificates): Promise<{ port: number }> {
  const files = { key: await readFile(key), cert: await readFile(cert) };
  const port = await tcpServer((socket) => {
    const client = new tls.TLSSocket(socket, { isServer: true, ...files });
    const server = net.connect(Number(new URL(url).port), "127.0.0.1");
    pipeline(client, server, client, () => {}); // A failure of one ends both.
  });
  return { port };
}
