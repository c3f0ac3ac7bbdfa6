// A push and a read: on a real gateway, on the wire, and with gateways that have each fault.

import type http from "node:http";
import fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import { expose, family, series } from "../../lib/gateway/exposition.ts";
import { collectGroup, isTransient, PushRefused, push, readGroup } from "../../lib/gateway/pushgateway.ts";
import { parseSettings } from "../../lib/settings/settings.ts";
import { scrape } from "../helpers/gateway.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";

const metricsWith = (...names: string[]) => names.map((name) => `# TYPE ${name} gauge\n${name} 1\n`).join("");
const metrics = metricsWith("veza_test");
const group = { job: "veza_reconciler", stage: "prod" };
/** Far off, unless it is what a test waits for. */
const limit = (ms = 60_000) => deadlineFor("the Pushgateway", ms);

describe("on a real gateway", () => {
  const pushed = async (text: string) => {
    await push({ url: inject("pushgatewayUrl") }, { job: "test", stage: "real" }, text, limit());
    return scrape("real");
  };

  it("takes any name of a label's for what was pushed", async () => {
    const gateway = { url: inject("pushgatewayUrl") };
    const names = { job: "names", stage: "names" };
    const hard = ["lédger", "元帳", "لدجر", 'a"b', "a\\nb", "a\nb", 'a"} 7', "a\u2028b\r", "a=,b", "{📒}", "\\"];
    const shownAs = async (database: string) => {
      const text = await expose([family("gauge", "veza_a", "A.")], [series("veza_a", { database }, 1)]);
      await push(gateway, names, text, limit());
      return (await readGroup(gateway, names, limit())).shown[0]?.labels.database;
    };
    for (const name of hard) expect(await shownAs(name)).toBe(name);
  });

  it("replaces the group: no series of an earlier push stays", async () => {
    expect(await pushed(metricsWith("veza_a", "veza_b"))).toEqual({ veza_a: 1, veza_b: 1 });
    expect(await pushed(metricsWith("veza_b"))).toEqual({ veza_b: 1 });
  });

  it("rejects with the gateway's reason when it refuses the push", async () => {
    const refused = pushed("not a metric line\n");
    await expect(refused).rejects.toThrow(PushRefused);
    await expect(refused).rejects.toThrow("the Pushgateway answered 400: text format parsing error");
  });
});

it.each([
  ["without credentials", "http://BASE", "", "", undefined],
  ["below a path prefix such as VictoriaMetrics'", "http://BASE/api/import/", "", "/api/import", undefined],
  ["with the user and password of the URL", "http://us%40er:p%C3%A4ss%3A@BASE", "", "", "Basic dXNAZXI6cMOkc3M6"],
  ["with a token", "http://BASE", "to-ken", "", "Bearer to-ken"],
])("is a PUT of the group as text, and a read of the page there, %s", async (_, url, token, prefix, authorization) => {
  let arrived: http.IncomingMessage | undefined;
  const base = await httpServer((request, response) => {
    arrived = request;
    request.resume().on("end", () => response.end());
  });
  const settings = {
    DATABASE_URL: "postgres://u@127.0.0.1/x",
    PUSHGATEWAY_URL: url.replace("BASE", base.replace("http://", "")),
    PUSHGATEWAY_TOKEN: token || undefined,
  };
  const { pushgateway } = parseSettings(settings, "sampler");
  await push(pushgateway, group, metrics, limit());
  expect(arrived).toMatchObject({ method: "PUT", url: `${prefix}/metrics/job/veza_reconciler/stage/prod` });
  expect(arrived?.headers["content-length"]).toBe(String(Buffer.byteLength(metrics)));
  expect(arrived?.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(arrived?.headers.authorization).toBe(authorization);
  await readGroup(pushgateway, group, limit());
  expect([arrived?.url, arrived?.headers.authorization]).toEqual([`${prefix}/metrics`, authorization]);
  expect(arrived?.headers["accept-encoding"]).toBe("identity"); // To pack a page takes twice as long.
});

describe("with a faulty gateway", () => {
  const drip = (_: unknown, response: http.ServerResponse) => {
    const dripping = setInterval(() => response.write("."), 100);
    response.on("close", () => clearInterval(dripping));
  };
  const breakOff = (_: unknown, response: http.ServerResponse) => {
    response.writeHead(200, { "content-length": "100" }).write("half");
    setTimeout(() => response.destroy(), 50);
  };
  const redirect = ({ url }: http.IncomingMessage, response: http.ServerResponse) =>
    void response.writeHead(url === "/elsewhere" ? 200 : 302, { location: "/elsewhere" }).end();

  it("shows no credentials that an error page repeats, also where it is cut off", async () => {
    const token = "S3cret.t0ken-of+the/gateway==";
    const authorization = `Bearer ${token}`;
    for (const before of [0, 180]) {
      const url = await httpServer(({ headers }, response) => {
        response.writeHead(502).end(`${"x".repeat(before)} ${headers.authorization} <hr>`);
      });
      const pushing = push({ url, headers: { authorization } }, group, metrics, limit());
      const { message } = await pushing.catch((error) => error);
      expect(message).toMatch(/^the Pushgateway answered 502: .*…/);
      expect(message).not.toMatch(/s3cret|t0ken|gateway=/i);
    }
  });

  it("takes an answer without an end for a failure of a push, and a refused connection", async () => {
    const flood = (response: http.ServerResponse) => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
    };
    const flooding = await httpServer((_, response) => flood(response.on("drain", () => flood(response))));
    await expect(push({ url: flooding }, group, metrics, limit())).rejects.toThrow("the answer is too long");
    const closed = { url: `http://127.0.0.1:${closedPort}` };
    await expect(push(closed, group, metrics, limit())).rejects.toThrow(
      "the push to the Pushgateway failed: connect ECONNREFUSED",
    );
  });

  it.each([
    ["is mute", () => {}, 300, "the Pushgateway: no answer within 300 ms", "no answer within 300 ms"],
    ["drips its answer", drip, 300, "no answer within 300 ms", "no answer within 300 ms"],
    [
      "cuts its answer off",
      breakOff,
      60_000,
      "the push to the Pushgateway failed: other side closed",
      "/metrics of the gateway: other side",
    ],
  ])("takes it for a failure of a push and of a read when it %s", async (_, listener, limitMs, pushing, reading) => {
    const url = await httpServer(listener);
    await expect(push({ url }, group, metrics, limit(limitMs))).rejects.toThrow(pushing);
    await expect(readGroup({ url }, group, limit(limitMs))).rejects.toThrow(reading);
  });

  it("takes a redirect for a failed push, and for a page that is not there", async () => {
    const url = await httpServer(redirect);
    await expect(push({ url }, group, metrics, limit())).rejects.toThrow(
      "the push to the Pushgateway failed: unexpected redirect",
    );
    const unread = "the Pushgateway answered 302: no /metrics";
    expect(await readGroup({ url }, group, limit())).toEqual({ shown: [], unread });
  });

  it("says why after a refusal, in one line, cut short, and whether that may pass", async () => {
    let status = 0;
    const url = await httpServer((_, response) => void response.writeHead(status).end(`bad\n${"news".repeat(99)}`));
    for (status of [400, 408, 429, 499, 500, 501, 503]) {
      const mayPass = [408, 429, 500, 503].includes(status);
      const error = await push({ url }, group, metrics, limit()).catch((reason) => reason);
      expect(error).toMatchObject({ status, message: `the Pushgateway answered ${status}: bad ${"news".repeat(49)}` });
      expect(isTransient(error)).toBe(mayPass);
      const unread = `the Pushgateway answered ${status}: no /metrics`;
      const reading = readGroup({ url }, group, limit());
      // A page that may come another time is waited for. Without a page there is nothing to compare.
      if (mayPass) await expect(reading).rejects.toThrow(unread);
      else expect(await reading).toEqual({ shown: [], unread });
    }
  });
});

describe("of a page, takes the series of its group alone,", () => {
  const line = (labels: string, value: string) => `veza_a_total{instance="",${labels}} ${value}\n`;
  const page = [
    "# TYPE veza_a_total counter\n",
    line('job="veza_reconciler",stage="prod"', "7"),
    'push_time_seconds{instance="",job="veza_reconciler",stage="prod"} 1.7e+09\n',
    line('job="veza_reconciler",phase="stuck_orders",stage="prod"', "2.5e+06"),
    line('job="veza_reconciler",stage="b"', "1"),
    line('job="veza_reconciler"', "8"),
    line('job="veza_reconciler2",stage="prod"', "1"),
    'veza_a_total{instance="x",job="veza_reconciler",stage="prod"} 1\n',
    "vm_app_version 1\n",
    line('job="veza_reconciler",le="+Inf",stage="prod"', "+Inf"),
    line('database="lédger 元帳 📒",job="veza_reconciler",stage="prod"', "3"),
  ].join("");
  const ofStage = [
    { name: "veza_a_total", labels: {}, value: 7 },
    { name: "veza_a_total", labels: { phase: "stuck_orders" }, value: 2_500_000 },
    { name: "veza_a_total", labels: { le: "+Inf" }, value: Number.NaN },
    { name: "veza_a_total", labels: { database: "lédger 元帳 📒" }, value: 3 },
  ];
  const read = (pieces: (string | Buffer)[], of: Parameters<typeof collectGroup>[0] = group) => {
    const { shown, take } = collectGroup(of);
    for (const piece of pieces) take(Buffer.from(piece as string));
    return shown;
  };

  it("with a stage and without", () => {
    expect(read([page])).toEqual(ofStage);
    const withoutStage = read([page], { ...group, stage: undefined });
    expect(withoutStage).toEqual([{ name: "veza_a_total", labels: {}, value: 8 }]);
  });

  it("wherever it is cut into pieces, also in the middle of a character", () => {
    const bytes = Buffer.from(page);
    const cuts = fc.array(fc.nat(bytes.length), { maxLength: 60 }).map((some) => some.sort((a, b) => a - b));
    fc.assert(
      fc.property(cuts, (ends) => {
        const pieces = [...ends, bytes.length].map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
        expect(read(pieces)).toEqual(ofStage);
      }),
      { numRuns: 100 },
    );
  });

  it("and keeps at most 4 KiB of a line without an end, whatever its size", () => {
    const [start, end] = line('job="veza_reconciler",stage="prod",long="…"', "5").split("…") as [string, string];
    const [long, ...others] = read([start, ...Array(9).fill("x".repeat(1_000)), end, page]);
    expect(others).toEqual(ofStage);
    expect(long?.labels.long?.length).toBeLessThan(4_096);
  });
});
