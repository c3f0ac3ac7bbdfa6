// Free ports: nobody listens there, and no other process has been given them.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import { expect, it, onTestFinished, vi } from "vitest";
import { freePort } from "../../local/ports.ts";
import { runScript } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";

it("leaves a port alone that somebody listens on", async () => {
  const taken = Number(new URL(await httpServer(() => {})).port);
  expect(await freePort(taken)).toBeGreaterThan(taken);
});

it("gives a port to one process only, though nobody listens there yet", async () => {
  const port = await freePort();
  expect(await freePort(port)).toBe(port); // Here, where it is reserved.
  const { output } = await runScript("test/programs/free-port.ts", [String(port)]).exited;
  expect(Number(output)).toBeGreaterThan(port);
});

it("gives any other free port, where the system's own choice is reserved by another process", async () => {
  const other = createSocket("udp4").bind(0, "127.0.0.1");
  onTestFinished(() => void other.close());
  await once(other, "listening");
  const listen = vi.spyOn(net.Server.prototype, "listen");
  onTestFinished(() => listen.mockRestore());
  listen.mockImplementationOnce(function (this: net.Server) {
    return this.listen(other.address().port, "127.0.0.1");
  });
  expect(await freePort()).toBeGreaterThan(1_023);
});
