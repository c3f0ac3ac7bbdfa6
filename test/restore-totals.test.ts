import { afterAll, beforeAll, beforeEach, expect, inject, it, onTestFinished } from "vitest";
import { deadline } from "../lib/deadline.ts";
import { parseEvents, tally } from "../lib/events.ts";
import { publishTotals, recordDelivery } from "../lib/totals.ts";
import { createDatabase, lend, openConnection, type TestDatabase } from "./helpers/database.ts";
import { scrape, wipe } from "./helpers/gateway.ts";
import { runScript } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";
import { closedPort, httpServer } from "./helpers/servers.ts";

// What test/failover.test.ts does not show: every kind of series, wrong calls, and a Prometheus with a password.

const stage = "restore";
const timestamp = "2026-01-31T12:00:00Z";
const events = [
  { type: "reconciler.action", timestamp, data: { phase: "stuck_orders" } },
  { type: "reconciler.orphan_refund", timestamp },
  { type: "reconciler.sweep", timestamp, data: { duration_seconds: 1.1 } },
  { type: "reconciler.sweep", timestamp, data: { duration_seconds: 0.2 } },
];

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
beforeEach(async () => {
  await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
  await wipe(stage);
});
afterAll(() => database?.remove());

async function restore(args: string[] = [], environment: Record<string, string | undefined> = {}) {
  const program = runScript("commands/restore-totals.ts", args, {
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    STAGE: stage,
    SECRET_ID: undefined,
    ...environment,
  });
  await program.exited;
  return { exitCode: program.child.exitCode, output: program.output() };
}

async function count(id: string): Promise<void> {
  const { sql } = await openConnection(database.receiverUrl);
  await recordDelivery(sql, { id, bodyDigest: "", increments: tally(parseEvents(JSON.stringify(events))) });
}

async function publish(): Promise<void> {
  const open = () => openConnection(database.receiverUrl);
  await publishTotals(lend(await open(), open), { url: inject("pushgatewayUrl") }, stage, deadline("test", 5_000));
}

const rows = () => database.admin`
  select name, labels, value::float8, ahead::float8 from ledger_metrics.totals order by name, labels`;

it.each([[0], [1]])(
  "brings each series back after the loss of all but %d of 3 deliveries, once they are sent again",
  async (kept) => {
    const ids = ["a", "b", "c"];
    for (const id of ids) await count(id);
    await publish();
    const committed = await rows();
    const shown = await scrape(stage);

    await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
    for (const id of ids.slice(0, kept)) await count(id);
    const { exitCode, output } = await restore();
    expect(exitCode).toBe(0);
    const share = (value: number) => Number(((value / 3) * kept).toFixed(9));
    expect(output).toContain(`veza_reconciler_actions_total{phase="stuck_orders"}: ${share(3)} → 3\n`);
    expect(output).toContain(`veza_reconciler_sweep_duration_seconds_bucket{le="0.2"}: ${share(3)} → 3\n`);
    expect(output).toContain(`veza_reconciler_sweep_duration_seconds_sum: ${share(3.9)} → 3.9\n`);
    expect(output.includes("veza_reconciler_last_run_timestamp: 0 → ")).toBe(kept === 0);
    await publish();
    expect(await scrape(stage)).toEqual(shown);
    expect((await rows()).filter(({ ahead }) => ahead > 0)).toHaveLength(committed.length - 1);

    for (const id of ids) await count(id);
    expect(await rows()).toEqual(committed);
    await publish();
    expect(await scrape(stage)).toEqual(shown);
  },
);

it("raises nothing that is higher here, and nothing that it does not know", async () => {
  await count("a");
  await publish();
  await count("b");
  const before = await rows();
  expect(await restore()).toEqual({ exitCode: 0, output: "Every total is as high as shown.\n" });
  expect(await rows()).toEqual(before);
});

it("takes user and password from the address of Prometheus, and shows neither", async () => {
  const seen: (string | undefined)[] = [];
  const url = await httpServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(401).end("no");
  });
  const withPassword = url.replace("//", "//monitor:p%40ss@");
  const { exitCode, output } = await restore(["--prometheus", withPassword]);
  expect({ exitCode, output }).toEqual({ exitCode: 1, output: "Nothing was raised: Prometheus: status 401\n" });
  expect(seen).toEqual([`Basic ${Buffer.from("monitor:p@ss").toString("base64")}`]);
});

it("asks Prometheus before its transaction, which may not idle for that long", async () => {
  await count("a");
  const role = "alter role veza_ledger_receiver in database";
  const name = new URL(database.adminUrl).pathname.slice(1);
  await database.admin.unsafe(`${role} ${name} set idle_in_transaction_session_timeout = '300ms'`);
  onTestFinished(async () => {
    await database.admin.unsafe(`${role} ${name} reset idle_in_transaction_session_timeout`);
  });
  const url = await httpServer((request, response) => {
    const isAsked = request.url?.includes("veza_reconciler_orphan_refunds_total");
    const result = isAsked ? [{ metric: {}, value: [0, "7"] }] : [];
    setTimeout(() => response.end(JSON.stringify({ data: { result } })), 100);
  });
  const { exitCode, output } = await restore(["--prometheus", url]);
  expect({ exitCode, output }).toEqual({
    exitCode: 0,
    output: expect.stringContaining("veza_reconciler_orphan_refunds_total: 1 → 7\n"),
  });
});

it.each([
  ["an unknown option", ["--all"], {}, 2, "Unknown option '--all'"],
  ["no URL", ["--prometheus", "prometheus:9090"], {}, 2, "--prometheus must be an http or https URL"],
  ["no duration", ["--within", "1 hour"], {}, 2, "--within must be a duration such as 90m or 6h"],
  ["a missing setting", [], { PUSHGATEWAY_URL: undefined }, 1, "Nothing was raised: PUSHGATEWAY_URL is missing"],
  [
    "a gateway that is away",
    [],
    { PUSHGATEWAY_URL: `http://127.0.0.1:${closedPort}` },
    1,
    "Nothing was raised: the Pushgateway cannot be read: connect ECONNREFUSED",
  ],
])("says what is wrong with %s", async (_, args, environment, exitCode, message) => {
  const result = await restore(args, environment);
  expect(result).toEqual({ exitCode, output: expect.stringContaining(message) });
  expect(result.output.includes("usage: npm run restore-totals")).toBe(exitCode === 2);
});

it("prints how it is used", async () => {
  expect(await restore(["--help"])).toEqual({
    exitCode: 0,
    output: expect.stringMatching(/^usage: npm run restore-totals /),
  });
});
