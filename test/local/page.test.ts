// The page of npm start: what it serves, and its buttons.
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

/** Asks for a path as it is, by default as the page itself does. */
async function ask(path: string, method = "GET", headers: http.OutgoingHttpHeaders = { origin: new URL(url).origin }) {
  const request = http.request({ method, host: "127.0.0.1", port: new URL(url).port, path, headers }).end();
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, type: response.headers["content-type"], body };
}

it("answers a GET with the page, lets a button be pressed, and leaves any other POST to the receiver", async () => {
  expect(await ask("/")).toMatchObject({ status: 200, type: "text/html; charset=utf-8" });
  expect(await ask("/press/rename", "POST")).toMatchObject({ status: 200, body: "pressed 1" });
  expect(await ask("/press/twice", "POST")).toMatchObject({ status: 200, body: "It failed: no lock" });
  for (const name of ["", "constructor", "twice/"]) expect((await ask(`/press/${name}`, "POST")).status).toBe(404);
  for (const method of ["POST", "DELETE"]) expect((await ask("/", method)).status).toBe(200);
  expect(happened).toEqual(["rename", "POST", "DELETE"]);
});

it("answers no other name than this machine's, and a press of no other page: a browser here sends both", async () => {
  const { origin, host, port } = new URL(url);
  const rebound = { host: `evil.example:${port}`, origin: `http://evil.example:${port}` };
  for (const path of ["/", "/stack.json"]) expect(await ask(path, "GET", rebound)).toMatchObject({ status: 403 });
  const pages = [
    rebound,
    { origin: "http://evil.example" },
    { origin: "null" },
    { origin: "http://127.0.0.1:9090" },
    {},
  ];
  for (const headers of pages) expect((await ask("/press/rename", "POST", headers)).status).toBe(403);
  expect(happened).toEqual([]);
  expect((await ask("/press/rename", "POST", { host, origin })).status).toBe(200);
  const named = { host: `localhost:${port}`, origin: `http://localhost:${port}` };
  expect((await ask("/press/rename", "POST", named)).status).toBe(200);
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

it("the page loads nothing from elsewhere, and makes no HTML of texts", async () => {
  const elsewhere = /\b(src|href)="|@import|innerHTML|insertAdjacent|document\.write/;
  expect(await readFile("local/page.html", "utf8")).not.toMatch(elsewhere);
});
