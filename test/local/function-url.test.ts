// The stand-in for a function URL: its limits.
import { once } from "node:events";
import net from "node:net";
import { text } from "node:stream/consumers";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { serve } from "../../local/function-url.ts";

let handled = 0;
let port: number;
beforeEach(async () => {
  handled = 0;
  const server = await serve(async () => {
    handled += 1;
    return { statusCode: 200, body: "{}" };
  }, 0);
  onTestFinished(() => server.stop());
  port = Number(new URL(server.url).port);
});

/**
 * Sends the start of a request that announces a body of this length. Resolves to all that comes back, at the
 * connection's end.
 */
async function begin(contentLength: number, body: string): Promise<string> {
  const socket = net.connect({ host: "127.0.0.1", port });
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  const answer = text(socket);
  socket.on("error", () => {}); // It may be reset while there is more to send.
  socket.write(`POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${contentLength}\r\n\r\n${body}`);
  return await answer;
}

it("keeps no more than 512 KiB of a body, and does not wait for the rest", async () => {
  expect(await begin(6e6, " ".repeat(512 * 1024 + 1))).toMatch(/^HTTP\/1\.1 413 /);
  expect(handled).toBe(0);
  const fits = await fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: " ".repeat(512 * 1024) });
  expect(fits.status).toBe(200);
  expect(handled).toBe(1);
});

it("gives up a request that does not end within 10 s", async () => {
  expect(await begin(100, "{")).toMatch(/^HTTP\/1\.1 408 /);
  expect(handled).toBe(0);
});

it("works on five requests at once, lets 200 wait, and answers 503 with retry-after to more", async () => {
  let working = 0;
  let most = 0;
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { url, stop } = await serve(async () => {
    working += 1;
    most = Math.max(most, working);
    await released;
    working -= 1;
    return { statusCode: 200 };
  }, 0);
  onTestFinished(stop);
  const statuses: number[] = [];
  const posts = Array.from({ length: 210 }, async () => {
    const answer = await fetch(url, { method: "POST", body: "{}" });
    statuses.push(answer.status);
    return answer;
  });
  const refused = await Promise.any(posts);
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
  await expect.poll(() => statuses).toEqual(Array(5).fill(503));
  release();
  await Promise.all(posts);
  expect(statuses.filter((status) => status === 200)).toHaveLength(205);
  expect(most).toBe(5);
});
