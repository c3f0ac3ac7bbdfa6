// npm start: what it shows, what it refuses, and that it leaves nothing behind, whatever ends it.
import { chmod, readdir, watch, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stripVTControlCharacters } from "node:util";
import postgres from "postgres";
import { describe, expect, it } from "vitest";
import { checks } from "../../lib/checks.ts";
import { countsQuery } from "../../local/graph.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { needs, skippedBecause } from "../helpers/needs.ts";
import { programsNaming, runProgram, runScript, sharedSegments } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** A PATH on which this program comes first. */
async function pathWith(name: string, source: string): Promise<string> {
  const folder = await newFolder();
  await writeFile(path.join(folder, name), source, { mode: 0o755 });
  return `${folder}:${process.env.PATH}`;
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

const every = (seconds: number) => [process.execPath, "local/start.ts", "--every", String(seconds)];

/**
 * Starts a stack, by these settings and this command, in a temporary folder of its own. `leftovers` says which files
 * and programs are left of it.
 */
async function startStack(settings: Record<string, string | undefined> = {}, command = every(1)) {
  const folder = await newFolder();
  // Everybody may use it: where the stack runs as root, PostgreSQL has another user.
  await chmod(folder, 0o1777);
  const [program = "", ...args] = command;
  const stack = runProgram(program, args, { ...withoutSettings, ...settings, TMPDIR: folder }, "pipe");
  const leftovers = async () => {
    const files = (await readdir(folder)).filter((name) => name !== "node-compile-cache"); // npm's own.
    return [...files, ...(await programsNaming(folder))];
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
      const { exitCode, output } = await stack.exited;
      expect(exitCode).toBe(0);
      expect(output).toMatch(/\nStopped\. Nothing is left running\.\n$/);
      expect(await leftovers()).toEqual([]);
    },
  };
}

it("shows the demo ledger's counts, with an hour of history, and leaves nothing behind after Ctrl-C", async () => {
  const stack = await startStack({ PATH: await pathWith("grafana-server", grafanaStandIn) });
  await stack.ticks();
  const gateway = await stack.address("Pushgateway");
  const page = await stack.address("Page");
  const graphs = await stack.address("Prometheus");
  expect(await readdir(stack.folder)).toHaveLength(3);
  const textAt = async (url: string, place = "") => (await fetch(new URL(place, url))).text();
  const metrics = await textAt(gateway, "metrics");
  for (const [metric, count] of [
    ["veza_ledger_stuck_orders_pending", 4],
    ["veza_ledger_stuck_refunds_pending", 3],
    ["veza_ledger_failed_transfers_at_max_retry", 1],
    ["veza_ledger_orphan_refund_rows", 2],
    ["veza_ledger_reversal_pending_transfers", 0],
  ]) {
    expect(metrics).toContain(`${metric}{instance="",job="veza_ledger"} ${count}\n`);
  }

  // People on call see the amounts, which are the demo's own.
  const oncall = postgres(await stack.printed(/^On call +psql (\S+)/m), { max: 1 });
  expect(await oncall`select from orders where amount_cents > 0 limit 1`).toHaveLength(1);
  await oncall.end();

  const dashboard = await stack.printed(/^Grafana +(\S+\/d\/veza-ledger)/m);
  const { links } = JSON.parse(await textAt(page, "stack.json")) as { links: Record<string, string> };
  const { Prometheus: graph = "", Alerts: alerts = "" } = links;
  expect(links.Grafana).toBe(dashboard);
  expect(new URL(graph).searchParams.get("g0.expr")).toBe(countsQuery);
  for (const shown of [graph, alerts]) expect(await textAt(shown)).toContain("Prometheus");
  expect(await textAt(graphs, "api/v1/rules")).toContain("VezaLedgerStuckOrders");
  expect(JSON.parse(await textAt(dashboard))).toEqual({
    prometheus: graphs,
    files: ["dashboards", "datasources"],
    dashboards: expect.arrayContaining(["ledger.json"]),
  });

  // Its graphs have an hour of history, and the counters go on from there.
  const ask = async (query: string) => {
    const { data } = JSON.parse(await textAt(graphs, `api/v1/query?${new URLSearchParams({ query })}`));
    return data.result.map(({ value: [, value] }: { value: [number, string] }) => Number(value));
  };
  for (const metric of [...checks.map((check) => check.metric), "veza_reconciler_sweep_duration_seconds_count"]) {
    expect(await ask(`count_over_time(${metric}[1h]) >= 55`), metric).toHaveLength(1);
  }
  const sweeps = /^veza_reconciler_sweep_duration_seconds_count\{.*\} 6\d$/m;
  await expect.poll(() => textAt(gateway, "metrics")).toMatch(sweeps);
  for (const name of ["start.ts --every", "pushgateway --web", "prometheus --web", "postgres -D", "readdirSync"]) {
    expect((await stack.leftovers()).join("\n")).toContain(name);
  }
  await stack.end("SIGINT");
});

it("goes on without Prometheus where that does not start", async () => {
  const broken = await pathWith("prometheus", "#!/bin/sh\necho no space left >&2\nexit 1\n");
  const stack = await startStack({ PATH: broken });
  await stack.ticks();
  expect(stack.output()).toMatch(/^Prometheus +not started: prometheus did not start:\n +no space left/m);
  await stack.end("SIGINT");
});

it.each([["DATABASE_URL"], ["PUSHGATEWAY_URL"], ["SECRET_ID", "DATABASE_URL"]])(
  "takes no ledger and no gateway of yours: with %s set, it names npm run serve",
  async (...names) => {
    const settings = Object.fromEntries(names.map((name) => [name, "postgres://u:hunter2@127.0.0.1/x"]));
    const { exitCode, output } = await runScript("local/start.ts", [], { ...withoutSettings, ...settings }).exited;
    expect(exitCode).toBe(2);
    expect(output).toMatch(
      /^[A-Z_, ]+ set: npm start is a demo, on a ledger of its own\. `npm run serve` runs on yours; .+\n$/,
    );
    for (const name of names) expect(output).toContain(name);
    expect(output).not.toContain("hunter2");
  },
);

it("needs no setting of yours, and ends with npm", async () => {
  const settings = { STAGE: "prod", PUSHGATEWAY_TOKEN: "token", CA_CERTIFICATES: "none" };
  const stack = await startStack(settings, ["npm", "start", "--", "--every", "1"]);
  await stack.ticks();
  stack.child.kill("SIGTERM");
  await stack.exited;
  expect(await stack.leftovers()).toEqual([]);
});

describe("whatever ends it, no process and no folder is left behind:", async () => {
  it("SIGTERM and SIGHUP, of two that run at the same time, on ports of their own", async () => {
    const stacks = [await startStack(), await startStack()] as const;
    await Promise.all(stacks.map((stack) => stack.ticks()));
    const gateways = await Promise.all(stacks.map((stack) => stack.address("Pushgateway")));
    expect(new Set(gateways).size).toBe(2);
    expect(stacks.map((stack) => stack.output()).join("")).toMatch(/\(port 9091 is taken\)/);
    await stacks[0].end("SIGTERM");
    await stacks[1].end("SIGHUP");
  });

  it.each([150, 400, 700, 1_000, 1_500, 2_000])("SIGINT %i ms after its start", async (ms) => {
    const stack = await startStack();
    await sleep(ms);
    stack.child.kill("SIGINT");
    const { exitCode, output } = await stack.exited;
    // Node itself is not up yet in the first moment, and then the signal's own way to end a process is right.
    expect([0, null]).toContain(exitCode);
    expect(output).not.toMatch(/error|Error|initdb|Warning/);
    expect(await stack.leftovers()).toEqual([]);
  });

  // Without them, its supervisor cannot delete the shared memory.
  it("SIGINT after its PostgreSQL was killed", await needs("ipcs", "ipcrm", "sed"), async () => {
    const stack = await startStack();
    await stack.ticks();
    const sql = postgres(await stack.address("Postgres"), { max: 1 });
    const [row] = await sql`select regexp_split_to_array(pg_read_file('postmaster.pid'), '\\s+') as words,
      (select count(*)::int from pg_ls_dir('pg_dynshmem')) as mapped`;
    await sql.end();
    // Of its shared memory, one segment is System V's, and the rest is files of its folder.
    const segment = Number(row?.words.at(-3));
    expect(await sharedSegments()).toContain(segment);
    expect(row?.mapped).toBeGreaterThan(0);
    process.kill(Number(row?.words[0]), "SIGKILL");
    await expect.poll(sharedSegments).not.toContain(segment);
    await stack.end("SIGINT");
  });

  it("a reader that has read enough", async () => {
    // Its own cluster, and files that no other user may read.
    const command = "umask 077; npm start -- --every 1 | head -5";
    const stack = await startStack({ POSTGRES_TEMPLATE: undefined }, ["sh", "-c", command]);
    const { output } = await stack.exited;
    await expect.poll(stack.leftovers).toEqual([]);
    expect(output).toMatch(/^Page /m);
    expect(output).not.toMatch(/EPIPE|Error/);
  });

  it("SIGKILL at the moment at which Prometheus gets its folder, before it runs", async () => {
    const stack = await startStack();
    for await (const { filename } of watch(stack.folder)) if (filename?.includes("prometheus")) break;
    stack.child.kill("SIGKILL");
    await expect.poll(stack.leftovers).toEqual([]);
  });

  it("a failure half-way through its start", async () => {
    const { port: PORT } = new URL(await httpServer(() => {}));
    const stack = await startStack({ PORT });
    const { exitCode, output } = await stack.exited;
    expect([exitCode, output]).toEqual([
      1,
      `127.0.0.1:${PORT} is taken: end what listens there, or set PORT to a free port\n`,
    ]);
    expect(await stack.leftovers()).toEqual([]);
  });

  // `script` gives it a terminal, whose Ctrl-C reaches npm and Node alike, as a person's does. Its options are Linux'.
  // With `exec`, since some shells that wait for a program end at this Ctrl-C themselves.
  it(
    "Ctrl-C in a terminal, where ticks and deliveries are lines in columns",
    process.platform === "linux" ? await needs("script") : skippedBecause("on Linux alone"),
    async () => {
      const settings = { CI: undefined, npm_config_update_notifier: "false" };
      const stack = await startStack(settings, ["script", "-qefc", "exec npm start -- --every 1", "/dev/null"]);
      await stack.printed(/tick .*orders +4.*refunds +3/);
      const RECEIVER_URL = await stack.address("Receiver");
      await runScript("commands/send.ts", ["sweep", "1.5"], { ...withoutSettings, RECEIVER_URL }).exited;
      await stack.printed(/delivery +recorded +1 event +published/);
      stack.child.stdin?.write("\u0003");
      const { exitCode, output } = await stack.exited;
      expect(exitCode).toBe(0);
      // The terminal shows the key itself, too, before the line that comes next.
      const lines = stripVTControlCharacters(output).replace("^C", "").split(/\r?\n/);
      expect(lines.at(-2)).toMatch(/Stopped\. Nothing is left running\./);
      expect(lines.filter((line) => line.length > 80)).toEqual([]);
      expect(await stack.leftovers()).toEqual([]);
    },
  );
});
