import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import postgres from "postgres";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { checks } from "../../lib/checks.ts";
import { countsQuery } from "../../local/graph.ts";
import { createDatabase } from "../helpers/database.ts";
import { type Program, runProgram, runScript } from "../helpers/processes.ts";
import { newSecret } from "../helpers/receiver.ts";

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

/**
 * Stands in for Grafana, which is not to be had here: shows what it was given, and leaves out all that Grafana does.
 */
const grafanaStandIn = `#!/bin/sh
# A path with a space cannot stand in the first line.
exec '${process.execPath}' -e '
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
'`;

/** A folder for temporary files, which everybody may use: where the stack runs as root, PostgreSQL has another user. */
async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-local-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o1777);
  return folder;
}

it("shows the demo ledger's gauges and counters, and leaves nothing behind", async () => {
  const folder = await temporaryFolder();
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

  expect(await stack.printed(/^Page +(\S+)/m)).toBe(receiverUrl);
  expect(stack.output().split("\n")[0]).toMatch(/^Page /);
  const { links } = (await (await fetch(`${receiverUrl}stack.json`)).json()) as { links: Record<string, string> };
  const { Prometheus: graph = "", Alerts: alertsPage = "" } = links;
  expect(new URL(graph).searchParams.get("g0.expr")).toBe(countsQuery);
  expect(await (await fetch(graph)).text()).toContain("Prometheus");
  expect(await (await fetch(alertsPage)).text()).toContain("Prometheus");
  const rules = await (await fetch(new URL("/api/v1/rules", alertsPage))).text();
  expect(rules).toContain("VezaLedgerStuckOrders");
  const dashboard = await stack.printed(/^Grafana +(\S+\/d\/veza-ledger)/m);
  expect(dashboard).toBe(links.Grafana);
  expect(await (await fetch(dashboard)).json()).toEqual({
    prometheus: new URL(alertsPage).origin,
    files: ["dashboards", "datasources"],
    dashboards: expect.arrayContaining(["ledger.json"]),
  });
  // Its graphs have an hour of history, and the counters go on from there.
  const ask = async (query: string) => {
    const { origin } = new URL(alertsPage);
    const answer = await fetch(`${origin}/api/v1/query?${new URLSearchParams({ query })}`);
    const { data } = (await answer.json()) as { data: { result: { value: [number, string] }[] } };
    return data.result.map(({ value: [, value] }) => Number(value));
  };
  for (const { metric } of checks) expect(await ask(`count_over_time(${metric}[1h]) >= 55`), metric).toHaveLength(1);
  await expect.poll(() => ask("veza_reconciler_sweep_duration_seconds_count > 59")).toHaveLength(1);
  expect(await ask("resets(veza_reconciler_sweep_duration_seconds_count[2h])")).toEqual([0]);

  for (const [metric, count] of [
    ["veza_ledger_stuck_orders_pending", 4],
    ["veza_ledger_stuck_refunds_pending", 3],
    ["veza_ledger_failed_transfers_at_max_retry", 1],
    ["veza_ledger_orphan_refund_rows", 2],
    ["veza_ledger_reversal_pending_transfers", 0],
  ]) {
    expect(text).toContain(`${metric}{instance="",job="veza_ledger"} ${count}\n`);
  }

  const send = runScript("commands/send.ts", ["action", "orphan_refunds"], {
    ...withoutSettings,
    RECEIVER_URL: receiverUrl,
  });
  await send.exited;
  expect(send.output()).toMatch(/^Recorded\. It is on the gateway\. \(id msg_\S+\)\n$/);
  expect(await metrics()).toContain('job="veza_reconciler",phase="orphan_refunds"} 1\n');

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
  expect(stack.output()).toMatch(/^Prometheus +not started: prometheus did not start:\n +no space left/m);
  stack.child.kill("SIGINT");
  await stack.exited;
  expect(stack.child.exitCode).toBe(0);
});

it("samples a database that it was given, writes nothing to it, and ends when a supervisor ends npm", async () => {
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
  await database.remove();
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

describe("whatever ends it, no process and no folder is left behind:", () => {
  /** Starts the stack in a temporary folder of its own. `leftovers` says what is left of it. */
  async function startStack(run: (environment: Record<string, string | undefined>) => Program) {
    const folder = await temporaryFolder();
    const stack = run({ ...withoutSettings, TMPDIR: folder });
    const urls = async () =>
      Promise.all([/^Pushgateway +(\S+)/m, /^Receiver +(\S+)/m].map((pattern) => stack.printed(pattern)));
    const leftovers = async () => {
      const files = (await readdir(folder)).filter((name) => name !== "node-compile-cache"); // npm's own.
      return [...files, ...(await programsIn(folder))];
    };
    return { stack, urls, leftovers };
  }

  /** The programs whose command line names this folder, as Postgres' and Prometheus' do. */
  async function programsIn(folder: string): Promise<string[]> {
    const ps = runProgram("ps", ["-eo", "args"], {});
    await ps.exited;
    return ps
      .output()
      .split("\n")
      .filter((line) => line.includes(folder));
  }

  const start = (environment: Record<string, string | undefined>) =>
    runScript("local/start.ts", ["--every", "1"], environment);

  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s", async (signal) => {
    const { stack, urls, leftovers } = await startStack(start);
    await stack.printed(/"message":"tick"/);
    const [gateway = ""] = await urls();
    stack.child.kill(signal);
    await stack.exited;
    expect(stack.child.exitCode).toBe(0);
    expect(stack.output()).toMatch(/\nStopped\. Nothing is left running\.\n$/);
    expect(await leftovers()).toEqual([]);
    await expect(fetch(gateway)).rejects.toThrow("fetch failed");
  });

  it.each([150, 400, 700, 1_000, 1_500, 2_000])("SIGINT %i ms after its start", async (ms) => {
    const { stack, leftovers } = await startStack(start);
    await sleep(ms);
    stack.child.kill("SIGINT");
    await stack.exited;
    // Node itself is not up yet in the first moment, and then the signal's own way to end a process is right.
    expect([0, null]).toContain(stack.child.exitCode);
    expect(stack.output()).not.toMatch(/error|Error|initdb|Warning/);
    expect(await leftovers()).toEqual([]);
  });

  it("SIGKILL, within 10 s", async () => {
    const { stack, urls, leftovers } = await startStack(start);
    await stack.printed(/"message":"tick"/);
    const [gateway = ""] = await urls();
    stack.child.kill("SIGKILL");
    await stack.exited;
    await expect.poll(leftovers, { timeout: 10_000 }).toEqual([]);
    await expect(fetch(gateway)).rejects.toThrow("fetch failed");
  });

  it("SIGKILL while its PostgreSQL has died and waits to be started again, within 10 s", async () => {
    const { stack, urls, leftovers } = await startStack((environment) =>
      runScript("local/start.ts", ["--every", "30"], environment),
    );
    await stack.printed(/"message":"tick"/);
    const [gateway = ""] = await urls();
    const sql = postgres(await stack.printed(/^Postgres +(\S+)/m), { max: 1 });
    const [row] = await sql`select split_part(pg_read_file('postmaster.pid'), E'\n', 1)::int as pid`;
    await sql.end();
    process.kill(row?.pid, "SIGKILL");
    await stack.printed(/"PostgreSQL has ended, and starts again in 35 s"/);
    stack.child.kill("SIGKILL");
    await stack.exited;
    await expect.poll(leftovers, { timeout: 10_000 }).toEqual([]);
    await expect(fetch(gateway)).rejects.toThrow("fetch failed");
  });

  it("SIGINT while its PostgreSQL has died", async () => {
    const { stack, leftovers } = await startStack((environment) =>
      runScript("local/start.ts", ["--every", "30"], environment),
    );
    await stack.printed(/"message":"tick"/);
    const sql = postgres(await stack.printed(/^Postgres +(\S+)/m), { max: 1 });
    const [row] = await sql`select split_part(pg_read_file('postmaster.pid'), E'\n', 1)::int as pid`;
    await sql.end();
    process.kill(row?.pid, "SIGKILL");
    await stack.printed(/"PostgreSQL has ended, and starts again in 35 s"/);
    const startedAt = Date.now();
    stack.child.kill("SIGINT");
    await stack.exited;
    expect(Date.now() - startedAt).toBeLessThan(15_000);
    expect(stack.child.exitCode).toBe(0);
    expect(stack.output()).toMatch(/\nStopped\. Nothing is left running\.\n$/);
    expect(await leftovers()).toEqual([]);
  });

  it("a reader that has read enough", async () => {
    const { stack, leftovers } = await startStack((environment) =>
      runProgram("sh", ["-c", "npm start -- --every 1 | head -3"], environment),
    );
    await stack.exited;
    await expect.poll(leftovers, { timeout: 10_000 }).toEqual([]);
    expect(stack.output()).not.toMatch(/EPIPE|Error/);
  });

  it("a failure half-way through its start", async () => {
    const taken = net.createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as net.AddressInfo;
    const { stack, leftovers } = await startStack((environment) => start({ ...environment, PORT: String(port) }));
    await stack.exited;
    expect(stack.child.exitCode).toBe(1);
    expect(stack.output()).toBe(`listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`);
    expect(await leftovers()).toEqual([]);
  });

  // `script` gives it a terminal, whose Ctrl-C reaches npm and Node alike, as a person's does. Its options are Linux'.
  // With `exec`, since some shells that wait for a program end at this Ctrl-C themselves.
  it.skipIf(process.platform !== "linux")(
    "Ctrl-C in a terminal, where ticks and deliveries are lines in columns",
    async () => {
      const { stack, urls, leftovers } = await startStack((environment) =>
        runProgram(
          "script",
          ["-qefc", "exec npm start -- --every 1", "/dev/null"],
          { ...environment, CI: undefined, npm_config_update_notifier: "false" },
          "pipe",
        ),
      );
      await stack.printed(/tick .*orders +4.*refunds +3/);
      const [, receiver = ""] = await urls();
      const send = runScript("commands/send.ts", ["sweep", "1.5"], { ...withoutSettings, RECEIVER_URL: receiver });
      await send.exited;
      await stack.printed(/delivery +recorded +1 event +published/);
      stack.child.stdin?.write("\u0003");
      await stack.exited;
      expect(stack.child.exitCode).toBe(0);
      const lines = stripVTControlCharacters(stack.output()).split(/\r?\n/);
      expect(lines.at(-2)).toMatch(/Stopped\. Nothing is left running\./);
      expect(lines.filter((line) => line.startsWith("Next, in another terminal: "))).toHaveLength(1);
      expect(lines.filter((line) => line.length > 80)).toEqual([]);
      expect(await leftovers()).toEqual([]);
    },
  );
});

it("runs twice at the same time, on ports of their own", async () => {
  const stacks = [1, 2].map(() => runScript("local/start.ts", ["--every", "1"], withoutSettings));
  const gateways = await Promise.all(
    stacks.map(async (stack) => {
      await stack.printed(/"message":"tick"/);
      return stack.printed(/^Pushgateway +(\S+)/m);
    }),
  );
  expect(new Set(gateways).size).toBe(2);
  expect(stacks.map((stack) => stack.output()).join("")).toMatch(/\(port 9091 is taken\)/);
  for (const stack of stacks) stack.child.kill("SIGINT");
  await Promise.all(stacks.map(({ exited }) => exited));
  expect(stacks.map(({ child }) => child.exitCode)).toEqual([0, 0]);
});
