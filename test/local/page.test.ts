// The page of npm start: what it serves, to whom, and what a browser shows of it.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { promisify } from "node:util";
import postgres from "postgres";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { alertOf } from "../../config/checks.ts";
import { checks } from "../../lib/checks.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { answerPage, localRules, newStack, note, type Stack } from "../../local/page.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { skippedBecause } from "../helpers/needs.ts";
import { runScript } from "../helpers/processes.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const chromium = await findOnPath(["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]);

/** What a tick has pushed, as the gateway shows it. */
const pushed = `veza_ledger_amount_at_risk{check="stuck_orders",currency="EUR",instance="",job="veza_ledger"} 1310.2
veza_ledger_amount_at_risk{check="stuck_orders",currency="CHF",instance="",job="veza_ledger"} 5
veza_ledger_newest_item_timestamp_seconds{check="stuck_orders",instance="",job="veza_ledger"} 1.79586e+09
`;

describe("the stack's address", () => {
  let stack: Stack;
  let url: string;
  /** The methods that came to the receiver. */
  let handled: string[];

  beforeEach(async () => {
    handled = [];
    const { port } = new URL(await httpServer((_, response) => response.end(pushed)));
    const running = { everySeconds: 10, postgresPort: 5433, pushgatewayPort: Number(port) };
    stack = newStack(await localRules("http://127.0.0.1:8080/"), running);
    const server = await serve(
      async ({ requestContext }) => {
        handled.push(requestContext.http.method);
        return { statusCode: 200, body: "{}" };
      },
      0,
      (request, response) => answerPage(stack, request, response),
    );
    onTestFinished(() => server.stop());
    url = server.url;
  });

  /** Gets a path as it is, by another name of the host if need be. */
  async function get(rawPath: string, host = new URL(url).host) {
    const request = http.get({ port: new URL(url).port, path: rawPath, headers: { host } });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    let body = "";
    for await (const chunk of response) body += chunk;
    return { status: response.statusCode, type: response.headers["content-type"], headers: response.headers, body };
  }

  it("answers a GET with the page, and leaves a POST to the receiver", async () => {
    expect(await get("/")).toMatchObject({ status: 200, type: "text/html; charset=utf-8" });
    for (const method of ["POST", "DELETE"]) expect((await fetch(url, { method })).status).toBe(200);
    expect(handled).toEqual(["POST", "DELETE"]);
  });

  it("says what the checks are, what a tick has counted and pushed, and what became of deliveries", async () => {
    note(stack, "check failed", { check: "stuck_refunds", reason: "no such column" });
    note(stack, "tick", { stuck_orders: 4, stuck_refunds: -1, duration_seconds: 0.012 });
    note(stack, "check failed", { check: "stuck_orders", reason: "of the next tick" });
    note(stack, "delivery", { id: "msg_1", status: "recorded", events: 2, published: true });
    note(stack, "delivery refused", { id: "msg_2", status: 409, error: "webhook-id: was recorded for other events" });
    note(stack, "delivery not confirmed", { id: "msg_3", reason: "refused" });
    note(stack, "totals not published", { reason: "refused" });
    const { body, type } = await get("/stack.json");
    expect(type).toMatch(/^application\/json/);
    expect(JSON.parse(body)).toMatchObject({
      checks: checks.map(({ id, metric }) => ({
        id,
        metric,
        runbook: expect.stringContaining(`docs/runbook/${alertOf({ id })}.md`),
      })),
      tick: {
        seconds: 0.012,
        counts: { stuck_orders: 4, stuck_refunds: -1 },
        evidence: {
          amounts: { stuck_orders: ["1310.20\u00a0EUR", "5.00\u00a0CHF"] },
          newest: { stuck_orders: 1.79586e9 },
        },
      },
      deliveries: [
        { status: "not confirmed", id: "msg_3" },
        { status: "refused 409", id: "msg_2" },
        { status: "recorded", id: "msg_1", events: 2, published: true },
      ],
    });
    expect(JSON.parse(body).tick.reasons).toEqual({ stuck_refunds: "no such column" });
    for (let index = 0; index < 20; index += 1) note(stack, "request refused", { status: 405, error: "only POST" });
    expect(stack.deliveries).toHaveLength(10);
    expect(stack.deliveries[0]?.status).toBe("refused 405");
  });

  it("has what each alert links to, as HTML in which every link and image leads somewhere", async () => {
    const rules = await localRules(url);
    expect(rules.match(/_url: .*/g)?.filter((link) => !link.includes(url))).toEqual([]);
    const links = [...rules.matchAll(/runbook_url: (.*)/g)].map(([, link = ""]) => link);
    expect(links.length).toBeGreaterThan(10);
    const pages = new Map<string, string>();
    for (const link of links) {
      const { origin, pathname, hash } = new URL(link);
      if (origin !== new URL(url).origin) continue;
      if (!pages.has(pathname)) {
        const { status, body } = await get(pathname);
        expect(status, link).toBe(200);
        pages.set(pathname, body);
        for (const [, found = ""] of body.matchAll(/(?:href|src)="([^"]+)"/g)) links.push(new URL(found, link).href);
      }
      if (hash) expect(pages.get(pathname), link).toContain(`id="${hash.slice(1)}"`);
    }
    expect(pages.size).toBeGreaterThan(25);
    expect(pages.get("/docs/runbook/VezaLedgerStuckOrders.md")).toMatch(
      /<h2 id="now">Now<\/h2>\n<ol>[\s\S]*<pre><code/,
    );
  });

  it("leads to the dashboard, or to itself where no Grafana runs", async () => {
    const location = async () => (await get("/d/veza-ledger?var-stage=prod")).headers.location;
    expect(await location()).toBe("/?var-stage=prod");
    stack.links.Grafana = "http://127.0.0.1:3000/d/veza-ledger";
    expect(await location()).toBe("http://127.0.0.1:3000/d/veza-ledger?var-stage=prod");
  });

  it.each([
    "/docs/nothing.md",
    "/docs/../package.json",
    "/docs/%2e%2e/package.json",
    "/docs/events.schema.json",
    "/local/start.ts",
  ])("has nothing at %s", async (rawPath) => {
    expect((await get(rawPath)).status).toBe(404);
  });

  it("answers to names of this machine only, so that no other site can read it", async () => {
    const { port } = new URL(url);
    for (const host of [`localhost:${port}`, `[::1]:${port}`]) expect((await get("/", host)).status).toBe(200);
    for (const host of [`rebound.example:${port}`, "a b"]) {
      expect(await get("/stack.json", host)).toMatchObject({ status: 403, body: "Only from this machine.\n" });
    }
    expect((await get("http://rebound.example/stack.json")).status).toBe(403);
  });
});

it("a tick without an answer of the gateway has counts, and no evidence", async () => {
  const running = { everySeconds: 10, postgresPort: closedPort, pushgatewayPort: closedPort };
  const stack = newStack(await localRules("http://127.0.0.1:8080/"), running);
  note(stack, "tick", { stuck_orders: 4, duration_seconds: 0.012 });
  expect(await stack.tick?.evidence).toEqual({ amounts: {}, newest: {} });
});

it("the page loads nothing from elsewhere, and makes no HTML of texts", async () => {
  const page = await readFile("local/page.html", "utf8");
  expect(page).not.toMatch(/\b(src|href)="|@import|innerHTML|insertAdjacent|document\.write/);
});

describe("in a browser", skippedBecause(!chromium && "not on the PATH: chromium"), () => {
  /** What the page has become after some seconds, as HTML. */
  async function render(url: string): Promise<string> {
    const profile = await newFolder();
    const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
    const args = ["--headless", "--no-sandbox", ...quiet, "--disable-component-update", "--disable-sync"];
    const { stdout } = await promisify(execFile)(
      chromium ?? "",
      [...args, `--user-data-dir=${profile}`, "--virtual-time-budget=6000", "--dump-dom", url],
      { timeout: 240_000, maxBuffer: 4e6 },
    );
    return stdout.slice(stdout.indexOf("<body")).replaceAll(/\s+/g, " ");
  }

  it("shows counts, their last hour, alerts and deliveries of a real stack, and runs no text as a script", async () => {
    const stack = runScript("local/start.ts", ["--every", "1"], withoutSettings);
    const url = await stack.printed(/^Page +(\S+)/m);
    const prometheus = await stack.printed(/^Prometheus +(\S+)/m);
    const script = "<img/src=x/onerror=document[`title`]=`run`>";
    const send = runScript("commands/send.ts", ["ping", "--id", script], { ...withoutSettings, RECEIVER_URL: url });
    expect((await send.exited).exitCode).toBe(0);
    const ask = async (what: string) => (await fetch(`${prometheus}/api/v1/${what}`)).text();
    // The alert that is pending first: a row that can never count.
    const onCall = await stack.printed(/^On call +psql (\S+)/m);
    const ledger = postgres(onCall.replace(/\/\/.*@/, "//postgres:postgres@"), { max: 1 });
    await ledger`insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'x', 'infinity')`;
    await ledger.end();
    await expect.poll(() => ask("alerts")).toContain("VezaLedgerRowsOutside");
    await expect.poll(() => ask("query?query=veza_ledger_amount_at_risk")).toContain("failed_transfers");

    const shown = await render(url);
    expect(shown).toMatch(
      /<h3>Failed transfers<\/h3><div class="count red">1 <small>\d+\.\d\d(&nbsp;|\s)EUR<\/small><\/div>/,
    );
    expect(shown).toMatch(/<h3>Pending reversals<\/h3><div class="count green">0<\/div>/);
    expect(shown).toMatch(/<main> <p> <b>A demo:/);
    expect(shown).toMatch(/<td data-heading="state"><span class="dim">firing in \d+ (s|min)<\/span><\/td>/);
    expect(shown).toContain('<td data-heading="severity">ticket</td>');
    for (const { id } of checks) {
      const [, tile = ""] = new RegExp(`<article id="${id}">(.*?)</article>`).exec(shown) ?? [];
      const [, line = ""] = /<path class="dim" d="(M[^"]+)"/.exec(tile) ?? [];
      expect(line.split("H").length, id).toBeGreaterThan(100); // An hour of history, every 30 s.
      expect(tile, id).toMatch(new RegExp(`<a href="${url}docs/runbook[^"]*">What to do: runbook</a>`));
    }
    expect(shown).toMatch(new RegExp(`<a href="${url}docs/runbook[^"]*">VezaLedgerRowsOutside</a>`));
    expect(shown).toContain(`<a href="${prometheus}/`);
    expect(shown).toContain('<td data-heading="id">&lt;img/src=x/onerror=document[`title`]=`run`&gt;</td>');
    expect(shown).not.toContain("<img");
  });
});
