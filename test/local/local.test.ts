// npm start: what it shows, what it refuses, and that it leaves nothing behind, whatever ends it.
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
import { withoutSettings } from "../helpers/environment.ts";
import { type Program, runProgram, runScript, sharedSegments } from "../helpers/processes.ts";
import { newSecret } from "../helpers/receiver.ts";

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

type Run = (environment: Record<string, string | undefined>) => Program;

/** `npm start -- --every 1`, but for npm: with these settings, and the settings that the test gives it. */
const start =
  (settings: Record<string, string> = {}, everySeconds = 1): Run =>
  (environment) =>
    runScript("local/start.ts", ["--every", String(everySeconds)], { ...environment, ...settings });

/** Starts a stack in a temporary folder of its own. `leftovers` says which files and programs are left of it. */
async function startStack(run: Run = start()) {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-local-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  // Everybody may use it: where the stack runs as root, PostgreSQL has another user.
  await chmod(folder, 0o1777);
  const stack = run({ ...withoutSettings, TMPDIR: folder });
  const leftovers = async () => {
    const files = (await readdir(folder)).filter((name) => name !== "node-compile-cache"); // npm's own.
    const ps = runProgram("ps", ["-eo", "args"], {});
    await ps.exited;
    const lines = ps.output().split("\n");
    return [...files, ...lines.filter((line) => line.includes(folder))];
  };
  return {
    ...stack,
    folder,
    leftovers,
    ticks: () => stack.printed(/"message":"tick"/),
    /** The address that it has printed of one of its parts. */
    address: (name: string) => stack.printed(new RegExp(`^${name} +(\\S+)`, "m")),
    /** Ends it, and checks that it says so and leaves nothing. */
    end: async (signal: NodeJS.Signals) => {
      stack.child.kill(signal);
      await stack.exited;
      expect(stack.child.exitCode).toBe(0);
      expect(stack.output()).toMatch(/\nStopped\. Nothing is left running\.\n$/);
      expect(await leftovers()).toEqual([]);
    },
  };
}

const isGone = (url: string) => expect(fetch(url), url).rejects.toThrow("fetch failed");

it("shows the demo ledger's gauges and counters, and leaves nothing behind after Ctrl-C", async () => {
  const grafana = await programFolder("grafana-server", grafanaStandIn);
  const stack = await startStack(start({ PATH: `${grafana}:${process.env.PATH}` }));
  await stack.ticks();
  const gatewayUrl = await stack.address("Pushgateway");
  const receiverUrl = await stack.address("Receiver");
  const postgresUrl = await stack.address("Postgres");
  const metrics = async () => (await fetch(`${gatewayUrl}/metrics`)).text();
  const text = await metrics();
  expect(await readdir(stack.folder)).toHaveLength(3);

  expect(await stack.address("Page")).toBe(receiverUrl);
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

  await stack.end("SIGINT");
  const database = postgresUrl.replace("postgres:postgres@", "").replace("postgres:", "http:");
  for (const url of [gatewayUrl, receiverUrl, alertsPage, dashboard, database]) await isGone(url);
});

it("goes on without Prometheus where that does not start", async () => {
  const broken = await programFolder("prometheus", "#!/bin/sh\necho no space left >&2\nexit 1\n");
  const stack = await startStack(start({ PATH: `${broken}:${process.env.PATH}` }));
  await stack.ticks();
  expect(stack.output()).toMatch(/^Prometheus +not started: prometheus did not start:\n +no space left/m);
  await stack.end("SIGINT");
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
  it("SIGTERM and SIGHUP, of two that run at the same time, on ports of their own", async () => {
    const stacks = [await startStack(), await startStack()] as const;
    await Promise.all(stacks.map((stack) => stack.ticks()));
    const gateways = await Promise.all(stacks.map((stack) => stack.address("Pushgateway")));
    expect(new Set(gateways).size).toBe(2);
    expect(stacks.map((stack) => stack.output()).join("")).toMatch(/\(port 9091 is taken\)/);
    await stacks[0].end("SIGTERM");
    await stacks[1].end("SIGHUP");
    for (const gateway of gateways) await isGone(gateway);
  });

  it.each([150, 400, 700, 1_000, 1_500, 2_000])("SIGINT %i ms after its start", async (ms) => {
    const stack = await startStack();
    await sleep(ms);
    stack.child.kill("SIGINT");
    await stack.exited;
    // Node itself is not up yet in the first moment, and then the signal's own way to end a process is right.
    expect([0, null]).toContain(stack.child.exitCode);
    expect(stack.output()).not.toMatch(/error|Error|initdb|Warning/);
    expect(await stack.leftovers()).toEqual([]);
  });

  /** Ends a stack's PostgreSQL, and waits until it is to be started again, in 35 s. Resolves to its segment's id. */
  async function killPostgres({ address, printed }: Awaited<ReturnType<typeof startStack>>) {
    const sql = postgres(await address("Postgres"), { max: 1 });
    const [row] = await sql`select regexp_split_to_array(pg_read_file('postmaster.pid'), '\\s+') as words`;
    await sql.end();
    process.kill(Number(row?.words[0]), "SIGKILL");
    await printed(/"PostgreSQL has ended, and starts again in 35 s"/);
    const segment = Number(row?.words.at(-3));
    expect(await sharedSegments()).toContain(segment);
    return segment;
  }

  it.each([
    ["", async () => undefined],
    [" while its PostgreSQL has died and waits to be started again", killPostgres],
  ])("SIGKILL%s, within 10 s", async (_, before) => {
    const stack = await startStack(start({}, 30));
    await stack.ticks();
    const gateway = await stack.address("Pushgateway");
    const segment = await before(stack);
    stack.child.kill("SIGKILL");
    await stack.exited;
    await expect.poll(stack.leftovers, { timeout: 10_000 }).toEqual([]);
    expect(await sharedSegments()).not.toContain(segment);
    await isGone(gateway);
  });

  it("SIGINT while its PostgreSQL has died", async () => {
    const stack = await startStack(start({}, 30));
    await stack.ticks();
    await killPostgres(stack);
    const startedAt = Date.now();
    await stack.end("SIGINT");
    expect(Date.now() - startedAt).toBeLessThan(15_000);
  });

  it("a reader that has read enough", async () => {
    const stack = await startStack((environment) =>
      runProgram("sh", ["-c", "npm start -- --every 1 | head -3"], environment),
    );
    await stack.exited;
    await expect.poll(stack.leftovers, { timeout: 10_000 }).toEqual([]);
    expect(stack.output()).not.toMatch(/EPIPE|Error/);
  });

  it("a failure half-way through its start", async () => {
    const taken = net.createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    onTestFinished(() => void taken.close());
    const { port } = taken.address() as net.AddressInfo;
    const stack = await startStack(start({ PORT: String(port) }));
    await stack.exited;
    expect(stack.child.exitCode).toBe(1);
    expect(stack.output()).toBe(`listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`);
    expect(await stack.leftovers()).toEqual([]);
  });

  // `script` gives it a terminal, whose Ctrl-C reaches npm and Node alike, as a person's does. Its options are Linux'.
  // With `exec`, since some shells that wait for a program end at this Ctrl-C themselves.
  it.skipIf(process.platform !== "linux")(
    "Ctrl-C in a terminal, where ticks and deliveries are lines in columns",
    async () => {
      const stack = await startStack((environment) =>
        runProgram(
          "script",
          ["-qefc", "exec npm start -- --every 1", "/dev/null"],
          { ...environment, CI: undefined, npm_config_update_notifier: "false" },
          "pipe",
        ),
      );
      await stack.printed(/tick .*orders +4.*refunds +3/);
      const RECEIVER_URL = await stack.address("Receiver");
      await runScript("commands/send.ts", ["sweep", "1.5"], { ...withoutSettings, RECEIVER_URL }).exited;
      await stack.printed(/delivery +recorded +1 event +published/);
      stack.child.stdin?.write("\u0003");
      await stack.exited;
      expect(stack.child.exitCode).toBe(0);
      // The terminal shows the key itself, too, before the line that comes next.
      const lines = stripVTControlCharacters(stack.output()).replace("^C", "").split(/\r?\n/);
      expect(lines.at(-2)).toMatch(/Stopped\. Nothing is left running\./);
      expect(lines.filter((line) => line.startsWith("Next, in another terminal: "))).toHaveLength(1);
      expect(lines.filter((line) => line.length > 80)).toEqual([]);
      expect(await stack.leftovers()).toEqual([]);
    },
  );
});
