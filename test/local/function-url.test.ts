// The stand-in for a function URL: its limits.
import { once } from "node:events";
import net from "node:net";
import { text } from "node:stream/consumers";
import { beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { serve } from "../../local/function-url.ts";

const handle = vi.fn();
let url: string;
beforeEach(async () => {
  handle.mockReset().mockResolvedValue({ statusCode: 200, body: "{}" });
  const server = await serve(handle, 0);
  onTestFinished(() => server.stop());
  url = server.url;
});

const send = async (body: string) => (await fetch(url, { method: "POST", body })).status;

/**
 * Sends the start of a request that announces a body of this length. Resolves to all that comes back, at the
 * connection's end.
 */
async function begin(contentLength: number, body: string): Promise<string> {
  const socket = net.connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  const answer = text(socket);
  socket.on("error", () => {}); // It may be reset while there is more to send.
  socket.write(`POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${contentLength}\r\n\r\n${body}`);
  return await answer;
}

it("keeps no more than 512 KiB of a body, and does not wait for the rest", async () => {
  expect(await begin(6e6, " ".repeat(512 * 1024 + 1))).toMatch(/^HTTP\/1\.1 413 /);
  expect(handle).not.toHaveBeenCalled();
  expect(await send(" ".repeat(512 * 1024))).toBe(200);
});

it("gives up a request that does not end within 10 s", async () => {
  expect(await begin(100, "{")).toMatch(/^HTTP\/1\.1 408 /);
  expect(handle).not.toHaveBeenCalled();
});

it("works on five requests at once, as on Lambda, and on the next when one is done", async () => {
  const answers: (() => void)[] = [];
  handle.mockImplementation(() => new Promise((resolve) => answers.push(() => resolve({ statusCode: 200 }))));
  const sent = Array.from({ length: 6 }, () => send("{}"));
  await expect.poll(() => answers).toHaveLength(5);
  answers[0]?.();
  expect(await Promise.any(sent)).toBe(200);
  await expect.poll(() => answers).toHaveLength(6);
  for (const answer of answers) answer();
  expect(await Promise.all(sent)).toEqual(Array(6).fill(200));
});
