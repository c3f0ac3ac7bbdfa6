// The stand-in for a function URL: its limits and its end.
import { once } from "node:events";
import http from "node:http";
import { beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { serve } from "../../commands/function-url.ts";

const handle = vi.fn();
let url: string;
beforeEach(async () => {
  handle.mockReset().mockResolvedValue({ statusCode: 200, body: "{}" });
  const server = await serve(handle, 0);
  onTestFinished(() => server.stop());
  url = server.url;
});

const send = async (body: string, to = url) => (await fetch(to, { method: "POST", body })).status;

/** Sends the start of a body. Resolves to the answer's status, which comes before the rest. */
async function begin(start: string): Promise<number> {
  const request = http.request(url, { method: "POST", headers: { "content-length": 6e6 } });
  request.write(start);
  const [response] = await once(request, "response");
  request.on("error", () => {}).destroy();
  expect(handle).not.toHaveBeenCalled();
  return response.statusCode;
}

it("gives up a request that does not end within 10 s", async () => {
  expect(await begin("{")).toBe(408);
});

it("keeps no more than 512 KiB of a body, and does not wait for the rest", async () => {
  expect(await begin(" ".repeat(512 * 1024 + 1))).toBe(413);
  expect(await send(" ".repeat(512 * 1024))).toBe(200);
});

it("answers 502 where the handler fails", async () => {
  handle.mockRejectedValue(new Error("no"));
  expect(await send("{}")).toBe(502);
});

it("cuts off at its stop what has not ended in the given time, and takes nothing meanwhile", async () => {
  const server = await serve(handle, 0);
  const { port } = new URL(server.url);
  const endless = http.request({ port, method: "POST", headers: { "content-length": 9 } });
  endless.write("{");
  const lost = once(endless, "error");
  const agent = new http.Agent({ keepAlive: true });
  const [answer] = await once(http.get({ port, agent }), "response"); // It is kept alive, and holds up nothing.
  await once(answer.resume(), "end");
  const stopped = server.stop(200);
  await expect(send("{}", server.url)).rejects.toThrow("fetch failed");
  await stopped;
  await lost;
});
