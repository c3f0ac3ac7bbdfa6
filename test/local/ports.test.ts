// Free ports: nobody listens there, and no other process has been given them.
import { expect, it } from "vitest";
import { freePort } from "../../local/ports.ts";
import { runScript } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";

it("leaves a port alone that somebody listens on", async () => {
  const taken = Number(new URL(await httpServer(() => {})).port);
  expect(await freePort(taken)).toBeGreaterThan(taken);
});

it("gives a port to one process only, and no port that the system hands out, though nobody listens there yet", async () => {
  const port = await freePort();
  expect(port).toBeLessThan(32_768);
  expect(await freePort(port)).toBe(port); // Here, where it is reserved.
  const { output } = await runScript("test/programs/free-port.ts", [String(port)]).exited;
  expect(Number(output)).toBeGreaterThan(port);
});

it("gives nobody the port at which commands look for an Alertmanager", async () => {
  expect(await freePort(9093)).toBeGreaterThan(9093);
});
