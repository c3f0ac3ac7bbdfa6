import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, inject, it, onTestFinished } from "vitest";
import { createDatabase } from "./helpers/database.ts";
import { runProgram, runScript } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";

const withoutSettings = {
  DATABASE_URL: undefined,
  PUSHGATEWAY_URL: undefined,
  WEBHOOK_SECRET: undefined,
  SECRET_ID: undefined,
  STAGE: undefined,
};

/** A folder for the PATH with one program in it. */
async function programFolder(name: string, source: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-program-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(path.join(folder, name), source, { mode: 0o755 });
  return folder;
}

/** Stands in for Grafana, which cannot be had here: shows what it was given. It leaves out everything that Grafana does. */
const grafanaStandIn = `#!${process.execPath}
const { readdirSync } = require("node:fs");
const { PROMETHEUS_URL, GF_PATHS_PROVISIONING, VEZA_DASHBOARDS } = process.env;
const seen = {
  prometheus: PROMETHEUS_URL,
  files: readdirSync(GF_PATHS_PROVISIONING),
  dashboards: readdirSync(VEZA_DASHBOARDS),
};
require("node:http")
  .createServer((request, response) => response.end(JSON.stringify(seen)))
  .listen(process.env.GF_SERVER_HTTP_PORT, process.env.GF_SERVER_HTTP_ADDR);
`;

it("shows the demo ledger's gauges and counters, and leaves nothing behind", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-local-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755); // Where the stack runs as root, PostgreSQL has another user.
  const grafana = await programFolder("grafana-server", grafanaStandIn);
  const stack = runScript("local/start.ts", ["--every", "1"], {
    ...withoutSettings,
    TMPDIR: folder,
    PATH: `${grafana}:${process.env.PATH}`,
  });
  await stack.printed(/"message":"tick"/);
  const gatewayUrl = await stack.printed(/^Pushgateway +(\S+)/m);
  const receiverUrl = await stack.printed(/^Receiver +(\S+)/m);
  const postgresUrl = await stack.printed(/^Postgres +(\S+)/m);
  const metrics = async () => (await fetch(`${gatewayUrl}/metrics`)).text();
  const text = await metrics();
  expect(await readdir(folder)).toHaveLength(3);

  const alertsPage = await stack.printed(/^Prometheus .*alerts: (\S+)/m);
  expect(await (await fetch(alertsPage)).text()).toContain("Prometheus");
  const rules = await (await fetch(new URL("/api/v1/rules", alertsPage))).text();
  expect(rules).toContain("VezaLedgerStuckOrders");
  const dashboard = await stack.printed(/^Grafana .*dashboard: (\S+)/m);
  expect(await (await fetch(dashboard)).json()).toEqual({
    prometheus: new URL(alertsPage).origin,
    files: ["dashboards", "datasources"],
    dashboards: expect.arrayContaining(["ledger.json"]),
  });
  for (const [metric, count] of [
    ["veza_ledger_stuck_orders_pending", 4],
    ["veza_ledger_stuck_refunds_pending", 3],
    ["veza_ledger_failed_transfers_at_max_retry", 1],
    ["veza_ledger_orphan_refund_rows", 2],
    ["veza_ledger_reversal_pending_transfers", 2],
  ]) {
    expect(text).toContain(`${metric}{instance="",job="veza_ledger"} ${count}\n`);
  }

  const send = runScript("local/send.ts", ["action", "stuck_orders"], {
    ...withoutSettings,
    RECEIVER_URL: receiverUrl,
  });
  await send.exited;
  expect(send.output()).toBe('200 {"status":"recorded","published":true}\n');
  expect(await metrics()).toContain('job="veza_reconciler",phase="stuck_orders"} 1\n');

  stack.child.kill("SIGINT");
  await stack.exited;
  expect(stack.child.exitCode).toBe(0);
  await expect(fetch(gatewayUrl)).rejects.toThrow("fetch failed");
  await expect(fetch(receiverUrl)).rejects.toThrow("fetch failed");
  await expect(fetch(alertsPage)).rejects.toThrow("fetch failed");
  await expect(fetch(dashboard)).rejects.toThrow("fetch failed");
  await expect(fetch(postgresUrl.replace("postgres:postgres@", "").replace("postgres:", "http:"))).rejects.toThrow(
    "fetch failed",
  );
  expect(await readdir(folder)).toEqual([]);
});

it("goes on without Prometheus where that does not start", async () => {
  const broken = await programFolder("prometheus", "#!/bin/sh\necho no space left >&2\nexit 1\n");
  const stack = runScript("local/start.ts", ["--every", "1"], {
    ...withoutSettings,
    PATH: `${broken}:${process.env.PATH}`,
  });
  await stack.printed(/"message":"tick"/);
  expect(stack.output()).toMatch(/^Prometheus +not started +prometheus did not start/m);
  stack.child.kill("SIGINT");
  await stack.exited;
  expect(stack.child.exitCode).toBe(0);
});

it("samples a database that it was given, writes nothing to it, and ends with the npm that a supervisor ends", async () => {
  const database = await createDatabase();
  const stack = runProgram("npm", ["start", "--", "--every", "1"], {
    ...withoutSettings,
    DATABASE_URL: database.samplerUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    STAGE: "long_lived",
  });
  await stack.printed(/"message":"tick"[\s\S]*"message":"tick"/);
  const receiverUrl = await stack.printed(/^Receiver +(\S+)/m);
  stack.child.kill("SIGTERM");
  await stack.exited;
  await expect(fetch(receiverUrl)).rejects.toThrow("fetch failed");
  expect(stack.output()).not.toContain("Postgres");
  const [row] = await database.admin`
    select (select count(*) from orders) + (select count(*) from ledger_metrics.deliveries) as n`;
  expect(row?.n).toBe("0");
  await database.admin.end();
});

it.each([
  [
    { DATABASE_URL: "postgres://u:hunter2@127.0.0.1/x", PUSHGATEWAY_URL: "http://127.0.0.1" },
    "WEBHOOK_SECRET is missing",
  ],
  [{ DATABASE_URL: "mysql://u:hunter2@127.0.0.1/x", PUSHGATEWAY_URL: "x" }, "DATABASE_URL must be like postgres://"],
  [{ PUSHGATEWAY_URL: "http://push.example.com:9091" }, "a demo ledger's numbers have no place on a gateway elsewhere"],
  [{ PUSHGATEWAY_URL: "http://127.example.com:9091" }, "a demo ledger's numbers have no place on a gateway elsewhere"],
])("ends with one clear line when a setting is missing or wrong", async (settings, message) => {
  const stack = runScript("local/start.ts", [], { ...withoutSettings, ...settings });
  await stack.exited;
  expect(stack.child.exitCode).toBe(1);
  expect(stack.output()).toContain(message);
  expect(stack.output().trim().split("\n")).toHaveLength(1);
  expect(stack.output()).not.toContain("hunter2");
});

it.each([[[]], [["dance"]], [["action"]], [["sweep"]]])(
  "send says how it is used when called with %j",
  async (args) => {
    const send = runScript("local/send.ts", args, withoutSettings);
    await send.exited;
    expect(send.child.exitCode).toBe(2);
    expect(send.output()).toBe("usage: npm run send -- action <phase> | orphan_refund | sweep <seconds>\n");
  },
);
