import { readFile } from "node:fs/promises";
import http from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Running, startAlertmanager, startPrometheus, startPushgateway } from "../local/programs.ts";
import { type Program, runProgram, runScript } from "./helpers/processes.ts";
import { hurried } from "./helpers/rules.ts";
import { httpServer } from "./helpers/servers.ts";

const withoutSettings = { PUSHGATEWAY_URL: undefined, PUSHGATEWAY_TOKEN: undefined, SECRET_ID: undefined };

/** Runs the drill with minutes of 3 s; its standard input is a person's. */
function drill(gatewayUrl: string, minuteMs = 3_000, command = ["commands/drill.ts"]): Program {
  const environment = { ...withoutSettings, PUSHGATEWAY_URL: gatewayUrl, DRILL_MINUTE_MS: String(minuteMs) };
  return runProgram(process.execPath, command, environment, "pipe");
}

const isNarrow = (output: string) => output.split("\n").every((line) => line.length <= 80 || line.includes("http"));

describe("with Prometheus, Alertmanager and a pager", () => {
  let gateway: Running;
  let prometheus: Running;
  let alertmanager: Running;
  let pager: { url: string; stop(): void };
  /** What a person receives of the drill's stage, the oldest first. */
  let received: { at: string; status: string; alertname: string; summary: string }[];
  const waiting = { timeout: 60_000, interval: 100 };

  beforeAll(async () => {
    const server = http.createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += chunk;
      response.end();
      const { status, commonLabels, commonAnnotations } = JSON.parse(text);
      if (commonLabels.stage !== "drill") return;
      const { alertname } = commonLabels;
      received.push({ at: request.url ?? "", status, alertname, summary: commonAnnotations.summary });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    pager = { url: `127.0.0.1:${port}`, stop: () => void server.close().closeAllConnections() };
    const route = (await readFile("config/alertmanager/alertmanager.yml", "utf8"))
      .replaceAll("127.0.0.1:9999", pager.url)
      .replaceAll(/group_(wait|interval): .*/g, "group_$1: 1s");
    [gateway, alertmanager] = await Promise.all([startPushgateway(0), startAlertmanager(0, route)]);
    prometheus = await startPrometheus(0, {
      pushgatewayUrl: gateway.url,
      rules: hurried(await readFile("config/alertmanager/ledger.yml", "utf8")),
      interval: "500ms",
      alertmanagerUrl: alertmanager.url,
    });
  });
  afterAll(async () => {
    await Promise.all([prometheus?.stop(), alertmanager?.stop(), gateway?.stop()]);
    pager?.stop();
  });
  beforeEach(() => {
    received = [];
  });

  const group = async () =>
    (await (await fetch(`${gateway.url}/metrics`)).text())
      .split("\n")
      .filter((line) => /^veza_.*stage="drill"/.test(line));
  const alerts = async () => (await fetch(`${prometheus.url}/api/v1/alerts`)).text();
  const page = (status: string) => ({
    at: "/page",
    status,
    alertname: "VezaLedgerOrphanRefunds",
    summary: expect.stringMatching(/^A drill, nobody's money: .*\(drill\)$/),
  });

  it("sends one page that says it is a drill, then its end, and leaves nothing behind", async () => {
    const program = drill(gateway.url);
    await program.printed(/Press Enter when the page has arrived/);
    await expect.poll(() => received, waiting).toEqual([page("firing")]);
    program.child.stdin?.write("\n");
    await program.printed(/Press Enter when that has arrived/);
    await expect.poll(() => received, waiting).toEqual([page("firing"), page("resolved")]);
    expect(await group()).toEqual([expect.stringMatching(/^veza_ledger_orphan_refund_rows\{.*\} 0$/)]);
    program.child.stdin?.write("\n");
    await program.exited;
    expect(program.child.exitCode).toBe(0);
    expect(program.output()).toMatch(/\nDeleted the group\.\nGateway, scrape, rules, route and pager work\.\n$/);
    expect(isNarrow(program.output())).toBe(true);
    expect(await group()).toEqual([]);
    expect(await alerts()).not.toContain('"stage":"drill"');
  });

  it("an Enter that comes too early leaves no alert behind", async () => {
    const program = drill(gateway.url);
    await expect.poll(() => received, waiting).toEqual([page("firing")]);
    program.child.stdin?.write("\n");
    await program.printed(/Press Enter when that has arrived/);
    await expect
      .poll(async () => {
        program.child.stdin?.write("\n");
        return /so that Prometheus sees it/.test(program.output());
      }, waiting)
      .toBe(true);
    await program.exited;
    expect(await group()).toEqual([]);
    await expect.poll(() => received, waiting).toEqual([page("firing"), page("resolved")]);
  });

  it.each(["SIGINT", "SIGTERM"] as const)("%s ends the alert first, and deletes the group", async (signal) => {
    const program = drill(gateway.url);
    await expect.poll(() => received, waiting).toEqual([page("firing")]);
    program.child.kill(signal);
    await program.exited;
    expect(program.child.exitCode).toBe(1);
    expect(program.output()).toMatch(
      /so that Prometheus sees it\.\nCtrl-C deletes the group at once\.\nDeleted the group\.\n$/,
    );
    expect(await group()).toEqual([]);
    await expect.poll(() => received, waiting).toEqual([page("firing"), page("resolved")]);
  });
});

describe("with a gateway alone", () => {
  let gateway: Running;
  beforeAll(async () => {
    gateway = await startPushgateway(0);
  });
  afterAll(() => gateway?.stop());
  const isPushed = async () => (await (await fetch(`${gateway.url}/metrics`)).text()).includes('stage="drill"');

  it("gives up when no page arrives, also where nobody can press Enter", async () => {
    const program = runScript("commands/drill.ts", [], {
      ...withoutSettings,
      PUSHGATEWAY_URL: gateway.url,
      DRILL_MINUTE_MS: "100",
    });
    await program.exited;
    expect(program.child.exitCode).toBe(1);
    expect(program.output()).toContain("No page within 20 minutes. The first step that did not happen says why.\n");
    expect(await isPushed()).toBe(false);
  });

  it("gives up waiting for the end, and says what may be missing", async () => {
    const program = drill(gateway.url, 200);
    await program.printed(/Press Enter when the page has arrived/);
    program.child.stdin?.write("\n");
    await program.exited;
    expect(program.child.exitCode).toBe(0);
    expect(program.output()).toContain("No end within 10 minutes: has the receiver send_resolved?\nDeleted the group.");
    expect(await isPushed()).toBe(false);
  });

  // `script` gives it a terminal; its options are Linux'.
  it.skipIf(process.platform !== "linux")("a second Ctrl-C deletes the group at once, also through npm", async () => {
    const program = runProgram(
      "script",
      ["-qefc", "npm run drill", "/dev/null"],
      { ...withoutSettings, PUSHGATEWAY_URL: gateway.url, npm_config_update_notifier: "false" },
      "pipe",
    );
    await program.printed(/Press Enter when the page has arrived/);
    expect(await isPushed()).toBe(true);
    program.child.stdin?.write("\u0003");
    await program.printed(/so that Prometheus sees it/);
    expect(await isPushed()).toBe(true);
    const pressAgain = async () => {
      program.child.stdin?.write("\u0003");
      return program.output();
    };
    await expect.poll(pressAgain, { interval: 1_200 }).toContain("Prometheus may not have seen the 0.");
    await program.exited;
    expect(await isPushed()).toBe(false);
  });
});

describe("with a gateway that fails", () => {
  it.each([
    [401, "the Pushgateway answered 401"],
    [503, "the Pushgateway answered 503"],
  ])("says that it answered %i, and ends", async (status, reason) => {
    const url = await httpServer((_, response) => response.writeHead(status).end());
    const program = drill(url, 100);
    await program.exited;
    expect(program.child.exitCode).toBe(1);
    expect(program.output()).toContain(`${reason}\n\nusage: npm run drill\n`);
  });

  it("goes on while pushes fail, says so once, and how to delete the group by hand", async () => {
    let pushes = 0;
    const url = await httpServer((request, response) => {
      pushes += 1;
      request.resume();
      response.writeHead(pushes > 1 ? 503 : 200).end();
    });
    const program = drill(url, 100);
    await program.exited;
    expect(program.child.exitCode).toBe(1);
    const told = program.output().match(/A push failed, and is tried again: the Pushgateway answered 503/g);
    expect(told).toHaveLength(2); // Of 1, and of 0.
    expect(program.output()).toContain(`curl -X DELETE\n${url}/metrics/job/veza_ledger/stage/drill\n`);
    expect(pushes).toBeGreaterThan(10);
  });

  it("ends where a gateway never answers", async () => {
    const url = await httpServer(() => {});
    const program = drill(url, 100);
    await program.exited;
    expect(program.child.exitCode).toBe(1);
    expect(program.output()).toContain("the Pushgateway: no answer within 3000 ms");
  });
});

it("says which setting is missing, and shows no secret", async () => {
  const missing = runScript("commands/drill.ts", [], withoutSettings);
  await missing.exited;
  expect(missing.output().split("\n")[0]).toBe("PUSHGATEWAY_URL is missing");
  expect(isNarrow(missing.output())).toBe(true);
  const both = runScript("commands/drill.ts", [], {
    ...withoutSettings,
    PUSHGATEWAY_URL: "https://user:hunter2@127.0.0.1:4",
    PUSHGATEWAY_TOKEN: "hunter2",
  });
  await both.exited;
  expect(both.child.exitCode).toBe(1);
  expect(both.output()).not.toContain("hunter2");
});

it("takes no arguments", async () => {
  const program = runScript("commands/drill.ts", ["prod"], withoutSettings);
  await program.exited;
  expect([program.child.exitCode, program.output().split("\n")[0]]).toEqual([2, "usage: npm run drill"]);
});
