import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import net from "node:net";

/** Ports that this process has reserved, each by a UDP socket of the same number. The system frees them at its end. */
const reserved = new Map<number, Socket>();

/** Where commands look for an Alertmanager, if they are told no other address. */
const alertmanagerPort = 9093;

/**
 * The first port from `preferred` on that is free on 127.0.0.1, and is not Alertmanager's; with 0, any free port. Two
 * stacks that start at the same time get different ports: each is reserved, by its number in UDP, until this process
 * ends.
 */
export async function freePort(preferred = 0): Promise<number> {
  for (let next = 0; next < 100; next += 1) {
    const port = preferred && preferred + next;
    if (port === alertmanagerPort) continue;
    const free = await ifFree(port);
    if (free && (await reserve(free))) return free;
  }
  throw new Error(`no free port from ${preferred} to ${preferred + 99}`);
}

async function ifFree(port: number): Promise<number | undefined> {
  const server = net.createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
    return (server.address() as net.AddressInfo).port;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    return undefined;
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
