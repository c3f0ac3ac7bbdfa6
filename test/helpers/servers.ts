import { once } from "node:events";
import http from "node:http";
import net from "node:net";
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
