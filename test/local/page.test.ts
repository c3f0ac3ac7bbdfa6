// The page of npm start: what it serves, to whom, and who may press its buttons.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { answerPage, localRules, note, type Stack } from "../../local/page.ts";

let stack: Stack;
let url: string;
/** The methods that came to the receiver, and the buttons that were pressed. */
let happened: string[];

beforeEach(async () => {
  happened = [];
  stack = { everySeconds: 10, pushgateway: "", reasons: {}, log: [], links: {} };
  const press = (name: string) => async () => `pressed ${happened.push(name)}`;
  const buttons = { rename: press("rename"), twice: async () => Promise.reject(new Error("no lock")) };
  const receiver: Parameters<typeof serve>[0] = async ({ requestContext }) => {
    happened.push(requestContext.http.method);
    return { statusCode: 200 };
  };
  const server = await serve(receiver, 0, (...exchange) => answerPage(stack, buttons, ...exchange));
  onTestFinished(() => server.stop());
  url = server.url;
});

/** Asks for a path as it is, by another name of the host if need be. */
async function ask(path: string, { method = "GET", host = new URL(url).host, ...more }: Record<string, string> = {}) {
  const request = http.request({ method, port: new URL(url).port, path, headers: { host, ...more } }).end();
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, type: response.headers["content-type"], headers: response.headers, body };
}

it("answers a GET with the page, which no other site can frame, and leaves a POST to the receiver", async () => {
  const { status, type, headers } = await ask("/");
  expect([status, type]).toEqual([200, "text/html; charset=utf-8"]);
  expect(headers["content-security-policy"]).toContain("default-src 'self' 'unsafe-inline'; frame-ancestors 'none'");
  for (const method of ["POST", "DELETE"]) expect((await fetch(url, { method })).status).toBe(200);
  expect(happened).toEqual(["POST", "DELETE"]);
});

it("keeps the last lines of the log alone", () => {
  for (let index = 0; index < 40; index += 1) note(stack, "info", "tick", { stuck_orders: index });
  expect([stack.log.length < 20, stack.tick?.counts.stuck_orders]).toEqual([true, 39]);
});

it("has the files that the alerts link to, and no others", async () => {
  const rules = await localRules(url);
  expect(rules.match(/_url: .*/g)?.filter((link) => !/http:\/\/127\.0\.0\.1:/.test(link))).toEqual([]);
  const links = [...rules.matchAll(/runbook_url: (\S+)/g)].map(([, link = ""]) => new URL(link).pathname);
  expect(links.length).toBeGreaterThan(10);
  for (const link of links) {
    const { status, type, body } = await ask(link);
    expect([status, type, body], link).toEqual([200, "text/plain; charset=utf-8", await readFile(`.${link}`, "utf8")]);
  }
  const others = ["/docs/nothing.md", "/docs/../package.json", "/docs/%2e%2e/package.json", "/local/start.ts"];
  for (const other of others) expect((await ask(other)).status, other).toBe(404);
});

it("answers to names of this machine only, so that no other site can read it", async () => {
  const { port } = new URL(url);
  for (const host of [`localhost:${port}`, `[::1]:${port}`]) expect((await ask("/", { host })).status).toBe(200);
  for (const host of [`rebound.example:${port}`, "a b"]) expect((await ask("/", { host })).status).toBe(403);
  expect((await ask("http://rebound.example/stack.json")).status).toBe(403);
});

it("lets its own page press a button, and no other site and no other program of a browser", async () => {
  const { host, origin } = new URL(url);
  const post = { method: "POST", origin };
  expect(await ask("/press/rename", post)).toMatchObject({ status: 200, body: "pressed 1" });
  expect(await ask("/press/twice", post)).toMatchObject({ status: 200, body: "It failed: no lock" });
  for (const name of ["", "constructor", "twice/"]) expect((await ask(`/press/${name}`, post)).status).toBe(404);
  expect((await ask("/press/rename")).status).toBe(404);
  const rebound = host.replace("127.0.0.1", "rebound.example");
  for (const other of ["null", "https://other.example", "http://127.0.0.1:3000", `https://${host}`]) {
    expect((await ask("/press/rename", { method: "POST", origin: other })).status, other).toBe(403);
  }
  for (const headers of [{ method: "POST" }, { method: "POST", origin: `http://${rebound}`, host: rebound }]) {
    expect((await ask("/press/rename", headers)).status).toBe(403);
  }
  expect((await ask("http://rebound.example/press/rename", post)).status).toBe(403);
  expect(happened).toEqual(["rename"]);
});

it("the page loads nothing from elsewhere, and makes no HTML of texts", async () => {
  const elsewhere = /\b(src|href)="|@import|innerHTML|insertAdjacent|document\.write/;
  expect(await readFile("local/page.html", "utf8")).not.toMatch(elsewhere);
});
