// A push to a real gateway, on the wire, and to gateways with each fault.

import type http from "node:http";
import { Gauge, Registry } from "prom-client";
import { describe, expect, inject, it } from "vitest";
import { deadline } from "../../lib/deadline.ts";
import { isTransient, PushRefused, push } from "../../lib/pushgateway.ts";
import { parseSettings } from "../../lib/settings.ts";
import { scrape } from "../helpers/gateway.ts";
import { closedPort, httpServer, tcpServer } from "../helpers/servers.ts";

function metricsWith(...names: string[]): Promise<string> {
  const registry = new Registry();
  for (const name of names) new Gauge({ name, help: "A test.", registers: [registry] }).set(1);
  return registry.metrics();
}

const metrics = await metricsWith("veza_test");
const pushDeadline = () => deadline("the Pushgateway", 1_000);
const pushTo = (url: string, signal = pushDeadline()) =>
  push({ url }, { job: "test", stage: undefined }, metrics, signal);

async function outcomeOf(work: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now();
  const error = await work.then(
    () => undefined,
    (reason) => reason,
  );
  return { error, ms: performance.now() - startedAt };
}

describe("on a real gateway", () => {
  const gateway = { url: inject("pushgatewayUrl") };

  it("replaces the group: no series of an earlier push stays", async () => {
    await push(gateway, { job: "test", stage: "ghosts" }, await metricsWith("veza_a", "veza_b"), pushDeadline());
    expect(await scrape("ghosts")).toEqual({ veza_a: 1, veza_b: 1 });
    await push(gateway, { job: "test", stage: "ghosts" }, await metricsWith("veza_b"), pushDeadline());
    expect(await scrape("ghosts")).toEqual({ veza_b: 1 });
  });

  it("leaves another stage alone", async () => {
    await push(gateway, { job: "test", stage: "one" }, await metricsWith("veza_a"), pushDeadline());
    await push(gateway, { job: "test", stage: "two" }, await metricsWith("veza_b"), pushDeadline());
    expect([await scrape("one"), await scrape("two")]).toEqual([{ veza_a: 1 }, { veza_b: 1 }]);
  });

  it("rejects with the gateway's reason when it refuses the push", async () => {
    const broken = "not a metric line\n";
    const { error } = await outcomeOf(push(gateway, { job: "test", stage: "broken" }, broken, pushDeadline()));
    expect(error).toBeInstanceOf(PushRefused);
    expect(String(error)).toContain("the Pushgateway answered 400: text format parsing error");
  });
});

describe("on the wire", () => {
  /** Takes one push with these settings and returns the request as it arrived. */
  async function received(url: string, token?: string): Promise<http.IncomingMessage> {
    let request: http.IncomingMessage | undefined;
    const base = await httpServer((incoming, response) => {
      request = incoming;
      incoming.resume().on("end", () => response.end());
    });
    const settings = {
      DATABASE_URL: "postgres://u@127.0.0.1/x",
      PUSHGATEWAY_URL: url.replace("BASE", base.replace("http://", "")),
      PUSHGATEWAY_TOKEN: token,
    };
    const { pushgateway } = parseSettings(settings, "sampler");
    await push(pushgateway, { job: "veza_ledger", stage: "prod" }, metrics, pushDeadline());
    if (!request) throw new Error("nothing arrived");
    return request;
  }

  it("is a PUT of the group, as text", async () => {
    const { method, url, headers } = await received("http://BASE");
    expect([method, url]).toEqual(["PUT", "/metrics/job/veza_ledger/stage/prod"]);
    expect(headers["content-length"]).toBe(String(Buffer.byteLength(metrics)));
    expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(headers.authorization).toBeUndefined();
  });

  it("keeps a path prefix such as VictoriaMetrics'", async () => {
    const { url } = await received("http://BASE/api/v1/import/prometheus/");
    expect(url).toBe("/api/v1/import/prometheus/metrics/job/veza_ledger/stage/prod");
  });

  it.each([
    [
      "user and password from the URL",
      "http://us%40er:p%C3%A4ss%3A@BASE",
      "",
      `Basic ${Buffer.from("us@er:päss:").toString("base64")}`,
    ],
    ["a token", "http://BASE", "to-ken", "Bearer to-ken"],
  ])("sends %s", async (_, url, token, authorization) => {
    expect((await received(url, token)).headers.authorization).toBe(authorization);
  });
});

describe("with a faulty gateway", () => {
  const answered = (listener: http.RequestListener) => () => httpServer(listener);
  const drip = (response: http.ServerResponse) => {
    response.writeHead(200, { "content-length": "100000" });
    const dripping = setInterval(() => response.write("."), 100);
    response.on("close", () => clearInterval(dripping));
  };
  const flood = (response: http.ServerResponse) => {
    while (!response.destroyed && response.write("x".repeat(65_536)));
  };
  it.each([
    ["refuses the connection", async () => `http://127.0.0.1:${closedPort}`, "ECONNREFUSED", 900],
    ["drips its answer", answered((_, response) => drip(response)), "no answer within 1000 ms", 1_500],
    [
      "breaks its answer off",
      answered((_, response) => {
        response.writeHead(200, { "content-length": "100" }).write("half");
        setTimeout(() => response.destroy(), 50);
      }),
      "the push failed",
      900,
    ],
    [
      "never ends its answer",
      answered((_, response) => flood(response.on("drain", () => flood(response)))),
      "the answer is too long",
      900,
    ],
    [
      "redirects",
      answered(({ url }, response) => {
        response.writeHead(url?.startsWith("/metrics") ? 302 : 200, { location: "/elsewhere" }).end();
      }),
      "the push failed: unexpected redirect",
      900,
    ],
  ])("takes it for a failure in time when it %s", async (_, start, reason, limitMs) => {
    const { error, ms } = await outcomeOf(pushTo(await start()));
    expect(String(error)).toContain(reason);
    expect(ms).toBeLessThan(limitMs);
  });

  it.each([
    [400, false],
    [408, true],
    [429, true],
    [499, false],
    [500, true],
    [501, false],
    [503, true],
  ])("says why after %i, in one line, and whether that may pass: %s", async (status, mayPass) => {
    const base = await httpServer((_, response) => void response.writeHead(status).end("bad\nnews"));
    const { error } = await outcomeOf(pushTo(base));
    expect(error).toMatchObject({ status, message: `the Pushgateway answered ${status}: bad news` });
    expect(isTransient(error)).toBe(mayPass);
  });

  it("gives a mute one until the deadline, once, and has ended its request by then", async () => {
    let [requests, underWay] = [0, 0];
    const port = await tcpServer((socket) => {
      socket.once("data", () => {
        requests += 1;
        underWay += 1;
        socket.once("close", () => {
          underWay -= 1;
        });
      });
    });
    const outcome = outcomeOf(pushTo(`http://127.0.0.1:${port}`, deadline("the caller", 300)));
    await expect.poll(() => underWay).toBe(1);
    const { error, ms } = await outcome;
    expect(String(error)).toContain("the caller: no answer within 300 ms");
    expect(ms).toBeLessThan(800);
    await expect.poll(() => underWay).toBe(0);
    expect(requests).toBe(1);
  });
});
