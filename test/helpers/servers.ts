import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";

/** A TCP server on 127.0.0.1 that treats each connection as told; gone with the test. Resolves to its port. */
export async function tcpServer(
  onConnection: (socket: net.Socket) => void,
  options: net.ServerOpts = {},
): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer(options, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as net.AddressInfo).port;
}

/** An HTTP server on 127.0.0.1, which closes no idle connection; gone with the test. Resolves to its base URL. */
export async function httpServer(listener: http.RequestListener): Promise<string> {
  const server = http.createServer({ keepAliveTimeout: 0 }, listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

/** A port where nobody listens: below the ports that the system hands out, so that no other test can get it. */
export const closedPort = 4;

/** A port whose server has stopped and whose queue is full: dialling it never ends. Gone with the test. */
export async function fullPort(): Promise<number> {
  const source = `const server = require("node:net").createServer();
    server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port));`;
  const child = spawn(process.execPath, ["-e", source], { stdio: ["ignore", "pipe", "inherit"] });
  const waiting: net.Socket[] = [];
  onTestFinished(() => {
    child.kill("SIGKILL");
    for (const socket of waiting) socket.destroy();
  });
  const [printed] = await once(child.stdout, "data");
  child.kill("SIGSTOP");
  for (let isFull = false; !isFull; ) {
    const socket = net.connect({ port: Number(printed), host: "127.0.0.1" }).on("error", () => {});
    waiting.push(socket);
    isFull = await Promise.race([once(socket, "connect").then(() => false), sleep(100, true)]);
  }
  return Number(printed);
}
