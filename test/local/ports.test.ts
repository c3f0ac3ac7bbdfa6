// Free ports: nobody listens there, and no other process has been given them.
import { once } from "node:events";
import net from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { freePort } from "../../local/ports.ts";
import { runScript } from "../helpers/processes.ts";

async function listen(port: number): Promise<number> {
  const server = net.createServer().listen(port, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  return (server.address() as net.AddressInfo).port;
}

it("leaves a port alone that somebody listens on", async () => {
  const taken = await listen(0);
  expect(await freePort(taken)).toBeGreaterThan(taken);
});

it("gives a port to one process only, though nobody listens there yet", async () => {
  const port = await freePort();
  expect(await freePort(port)).toBe(port); // Here, where it is reserved.
  const other = runScript("test/programs/free-port.ts", [String(port)]);
  await other.exited;
  expect(Number(other.output())).toBeGreaterThan(port);
});
