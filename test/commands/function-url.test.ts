// The stand-in for a function URL: its limits and its end.
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { networkInterfaces } from "node:os";
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

/** Begins a request, perhaps with the start of a body. Resolves to the answer's status, which comes before the rest. */
async function begin(start: string, headers: http.OutgoingHttpHeaders = { "content-length": 6e6 }): Promise<number> {
  const request = http.request(url, { method: "POST", headers });
  if (start) request.write(start);
  else request.flushHeaders();
  const [response] = await once(request, "response");
  request.on("error", () => {}).destroy();
  expect(handle).not.toHaveBeenCalled();
  return response.statusCode;
}

it("gives up a request that does not end within 10 s", async () => {
  expect(await begin("{", { "content-length": 9 })).toBe(408);
});

it("refuses a body without its length before a byte of it", async () => {
  expect(await begin("", { "transfer-encoding": "chunked" })).toBe(411);
});

it("keeps no more than 64 MiB of all bodies together, until their requests have ended", async () => {
  const size = 512 * 1024;
  const held = Array.from({ length: 128 }, () => {
    const request = http.request(url, { method: "POST", headers: { "content-length": size } });
    request.on("error", () => {}).write(" ".repeat(size - 1));
    return request;
  });
  onTestFinished(() => void held.map((request) => request.destroy()));
  await expect.poll(() => send(" ".repeat(1_000))).toBe(503);
  held.pop()?.destroy();
  await expect.poll(() => send(" ".repeat(1_000))).toBe(200);
});

it("takes one request of a connection at a time", async () => {
  const { promise, resolve } = Promise.withResolvers<object>();
  onTestFinished(() => resolve({ statusCode: 200, body: "{}" }));
  handle.mockReturnValue(promise);
  const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
  socket.write("POST / HTTP/1.1\r\nhost: x\r\n\r\n");
  await expect.poll(() => handle).toHaveBeenCalledOnce();
  socket.write("POST / HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(socket.resume(), "close");
  expect(handle).toHaveBeenCalledOnce();
});

it("keeps no more than 512 KiB of a body, and does not wait for the rest", async () => {
  expect(await begin(" ".repeat(512 * 1024 + 1))).toBe(413);
  expect(await send(" ".repeat(512 * 1024))).toBe(200);
});

it("listens on an address of IPv6", async ({ skip }) => {
  const own = Object.values(networkInterfaces()).flatMap((addresses = []) => addresses.map(({ address }) => address));
  skip(!own.includes("::1"), "this machine has no IPv6");
  const server = await serve(handle, 0, undefined, "::1");
  onTestFinished(() => server.stop());
  expect([server.url, await send("{}", server.url)]).toEqual([expect.stringMatching(/^http:\/\/\[::1\]:/), 200]);
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
