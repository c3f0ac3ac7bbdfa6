// The stand-in for a function URL: how much it takes, and how much at once.
import { once } from "node:events";
import http from "node:http";
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

it("keeps no more than 512 KiB of a body, and does not wait for the rest", async () => {
  const request = http.request(url, { method: "POST", headers: { "content-length": 6e6 } });
  request.write(" ".repeat(512 * 1024 + 1));
  const [response] = await once(request, "response");
  request.on("error", () => {}).destroy();
  expect(response.statusCode).toBe(413);
  expect(handle).not.toHaveBeenCalled();
  expect(await send(" ".repeat(512 * 1024))).toBe(200);
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
