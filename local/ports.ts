import { randomInt } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import net from "node:net";

/** Ports that this process has reserved, each by a UDP socket of the same number. The system frees them at its end. */
const reserved = new Map<number, Socket>();

/** Where commands look for an Alertmanager, if they are told no other address. */
const alertmanagerPort = 9093;

/**
 * The first port from `preferred` on that is free on 127.0.0.1, and is not Alertmanager's. With 0, one below those that
 * the system hands out: whoever asks the system for a port while a program still starts would get that program's. Two
 * stacks that start at the same time get different ports: each is reserved, by its number in UDP, until this process
 * ends.
 */
export async function freePort(preferred = 0): Promise<number> {
  const first = preferred || randomInt(10_000, 32_000);
  for (let port = first; port < first + 100; port += 1) {
    if (port === alertmanagerPort || (!preferred && reserved.has(port))) continue;
    if ((await isFree(port)) && (await reserve(port))) return port;
  }
  throw new Error(`no free port from ${first} to ${first + 99}`);
}

async function isFree(port: number): Promise<boolean> {
  const server = net.createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    return false;
  } finally {
    server.close();
  }
}

async function reserve(port: number): Promise<boolean> {
  if (reserved.has(port)) return true;
  const socket = createSocket("udp4").unref();
  const isOurs = await new Promise<boolean>((resolve) => {
    socket.once("error", () => resolve(false));
    socket.bind({ port, address: "127.0.0.1", exclusive: true }, () => resolve(true));
  });
  if (isOurs) reserved.set(port, socket);
  else socket.close();
  return isOurs;
}
