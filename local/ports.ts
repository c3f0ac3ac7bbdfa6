import { once } from "node:events";
import net from "node:net";

/** The first port from `preferred` on that is free on 127.0.0.1; with 0, any free port. */
export async function freePort(preferred = 0): Promise<number> {
  for (let port = preferred; port < preferred + 100; port += 1) {
    const server = net.createServer().listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
      return (server.address() as net.AddressInfo).port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    } finally {
      server.close();
    }
  }
  throw new Error(`no free port from ${preferred} to ${preferred + 99}`);
}
