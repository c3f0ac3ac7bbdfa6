// The page of npm start: what it serves, and its buttons.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { answerPage, localRules, note, type Stack } from "../../local/page.ts";
import type { CountedRow } from "../../local/rows.ts";
import { needsChromium, openPage } from "../helpers/browser.ts";

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

it("keeps the last lines of the log alone", async () => {
  for (let index = 0; index < 40; index += 1) note(stack, "info", "tick", { stuck_orders: index });
  expect(stack.log.length).toBeLessThan(20);
  await expect.poll(() => stack.tick?.counts.stuck_orders).toBe(39);
});

const orphan = (id: number) => ({ id: `${id}`, sinceSeconds: 1, fires: true, isAccepted: false });

it("shows the rows of the tick below its counts: none that were read later, and none that are not as many", async () => {
  let ids = [1, 2];
  const reads = { other: 0 };
  stack.readRows = async () => ({
    orphan_refunds: { first: ids.map(orphan), total: ids.length },
    stuck_orders: { first: [], total: reads.other++ },
  });
  note(stack, "info", "tick", { orphan_refunds: 2, stuck_orders: 3 });
  await expect.poll(() => stack.tick?.counts.orphan_refunds).toBe(2);
  ids = [1, 2, 3];
  const { tick } = JSON.parse((await ask("/stack.json")).body);
  expect(tick.rows).toEqual({ orphan_refunds: [orphan(1), orphan(2)] });
});

describe("in a browser", needsChromium, () => {
  const evidence = { amounts: {}, newest: {}, overdue: {}, accepted: {} };
  const show = (counts: Record<string, number>, rows: CountedRow[]) => {
    stack.tick = { atMs: Date.now(), seconds: 0.1, counts, reasons: {}, evidence, rows: { orphan_refunds: rows } };
  };
  const counts = { stuck_orders: 0, stuck_refunds: 0, failed_transfers: 0, orphan_refunds: 2, pending_reversals: 0 };

  it("keeps the focus, what is selected, and a pressed button over an update", async () => {
    stack.log = [{ atMs: 1, level: "info", message: "first", fields: {} }];
    show(counts, [orphan(1), orphan(2)]);
    const { evaluate, mouse } = await openPage(url);
    const text = (selector: string) => evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText`);
    const count = () => text("[data-key=orphan_refunds] .count");
    await expect.poll(count).toMatch(/^2/);
    await evaluate(`document.querySelector("[data-key=orphan_refunds] a").focus()`);
    await evaluate(`getSelection().selectAllChildren(document.querySelector("#log tr td:nth-child(2)"))`);
    show({ ...counts, orphan_refunds: 1 }, [orphan(2)]);
    note(stack, "info", "second", {});
    await expect.poll(count).toMatch(/^1/);
    expect(await evaluate("document.activeElement.innerText")).toBe("Orphan refunds");
    expect(await evaluate("getSelection().toString()")).toBe("first");
    expect(await text("#log")).toMatch(/second[\s\S]*first/);

    const middle = (await evaluate(`(({ x, y, width, height }) => ({ x: x + width / 2, y: y + height / 2 }))(
      document.querySelector("#rename").getBoundingClientRect())`)) as { x: number; y: number };
    await mouse("mousePressed", middle);
    show(
      { ...counts, orphan_refunds: 9 },
      Array.from({ length: 9 }, (_, index) => orphan(index)),
    );
    await evaluate(`new Promise((resolve) => { const real = fetch; let asked = 0;
      fetch = (...all) => { if (++asked === 2) resolve(); return real(...all); }; })`);
    await mouse("mouseReleased", middle);
    await expect.poll(() => text("#outcome")).toBe("pressed 1");
    expect(await evaluate("document.activeElement.id")).toBe("rename");
    await expect.poll(count).toMatch(/^9/);
  });

  it('shows money as unknown where it is, and breaks no line in "overdue in 7 min"', async () => {
    const soon = { ...orphan(123_456), sinceSeconds: Date.now() / 1000 - 300, fires: false };
    show({ ...counts, stuck_orders: -1 }, [soon]);
    const { evaluate } = await openPage(url, { width: 390 });
    const text = (selector: string) => evaluate(`document.querySelector("[data-key=${selector}")?.innerText`);
    await expect.poll(() => text("stuck_orders] .count")).toMatch(/^\?\s+money \?$/);
    expect(await text("failed_transfers] .count")).toBe("0");
    const lines = `document.querySelector("li .whole").getClientRects().length`;
    expect([await text("orphan_refunds] .whole"), await evaluate(lines)]).toEqual(["overdue in 5 min", 1]);
  });
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
