// The SQL of docs/lost-and-wrong-events.md, as the role that it names. test/totals/failover.test.ts has the losses.
import postgres from "postgres";
import { afterAll, beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { parseEvents, tally } from "../../lib/totals/events.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { databaseForFile, lend, openConnection } from "../helpers/database.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { needs } from "../helpers/needs.ts";
import { blocksOf } from "../helpers/pages.ts";
import { runProgram } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";

const stage = "wrong";
const timestamp = "2026-01-31T12:00:00Z";
const action = { type: "reconciler.action", timestamp, data: { phase: "stuck_orders" } };
const orphan = { type: "reconciler.orphan_refund", timestamp };
const sweep = { type: "reconciler.sweep", timestamp, data: { duration_seconds: 1.84 } };
/** Of each kind, so that it shows which totals a statement leaves alone. */
const all = [
  action,
  orphan,
  sweep,
  { ...action, data: { phase: "stuck_refunds" } },
  { ...sweep, data: { duration_seconds: 0.3 } },
];

const database = await databaseForFile();
const asReceiver = postgres(database.receiverUrl, { max: 1, onnotice: () => {} });
const page = "docs/lost-and-wrong-events.md";
const statements = await blocksOf(page, "sql");
beforeEach(async () => {
  await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
  await wipe(stage);
});
afterAll(() => asReceiver.end());

/** Records these events under an id of their own, and publishes. Returns what the gateway shows then. */
async function count(id: string, ...events: object[]): Promise<Record<string, number>> {
  const connection = await openConnection(database.receiverUrl);
  const increments = tally(parseEvents(JSON.stringify(events)));
  await recordDelivery(connection.sql, { id, increments, stage });
  const lent = lend(connection, () => openConnection(database.receiverUrl));
  await publishTotals(lent, { pushgateway: { url: inject("pushgatewayUrl") }, stage }, deadlineFor("test", 60_000));
  return scrape(stage);
}

/** Runs a page's statement with these words, about so many events of a delivery. Returns how many totals it changed. */
async function run(words: string[], id = "", phase = "stuck_orders", number = 1): Promise<number> {
  const [statement = "", ...more] = statements.filter((sql) => words.every((word) => sql.includes(word)));
  expect(more).toEqual([]);
  const totals = async () =>
    (await database.admin`select * from ledger_metrics.totals`).map((row) => JSON.stringify(row));
  const before = await totals();
  const named = statement.replaceAll("WEBHOOK-ID", id || "WEBHOOK-ID").replaceAll("stuck_orders", phase);
  await asReceiver.unsafe(named.replace("1 as number", `${number} as number`));
  return (await totals()).filter((total) => !before.includes(total)).length;
}

it.each([
  ["an action", action, ["ahead + number", "actions_total"], 1],
  ["an orphan refund", orphan, ["ahead + number", "orphan_refunds_total"], 1],
  ["a sweep", sweep, ["ahead + case", "sweep_duration"], 2 + 6], // Sum, count, and buckets from 3.2 s to +Inf.
])("takes back %s: the next of its kind does not show, and the one after it does", async (_, event, words, changed) => {
  await count("another", { ...action, data: { phase: "orphan_refunds" } });
  const before = await count("before", ...all);
  const wrong = await count("wrong", event);
  for (const id of ["", "made up", "another"]) expect(await run(words, id), id).toBe(0);
  expect(await run(words, "wrong")).toBe(changed);
  await expect(run(words, "wrong")).rejects.toThrow("duplicate key"); // Pasted twice, it takes back once.
  await asReceiver`rollback`;
  expect(await count("nothing")).toEqual(wrong);
  expect(await count("next", event)).toEqual(wrong);
  const after = await count("after", event);
  const increase = (from: Record<string, number>, to: Record<string, number>) =>
    Object.entries(to).map(([name, value]) => [name, (value - (from[name] ?? 0)).toFixed(9)]);
  expect(increase(wrong, after)).toEqual(increase(before, wrong));
});

it("takes back actions of two phases of one delivery, each once", async () => {
  const words = ["ahead + number", "actions_total"];
  await count("wrong", action, { ...action, data: { phase: "stuck_refunds" } });
  expect(await run(words, "wrong")).toBe(1);
  expect(await run(words, "wrong", "stuck_refunds")).toBe(1);
  await expect(run(words, "wrong", "stuck_refunds")).rejects.toThrow("duplicate key");
  await asReceiver`rollback`;
});

it.each([
  ["actions", ["ahead + number", "actions_total"], action],
  ["orphan refunds", ["ahead + number", "orphan_refunds_total"], orphan],
])("takes back several %s of a delivery, and never more than it has", async (_, words, event) => {
  await count("wrong", event, event, event, action, orphan);
  for (const number of [5, 0, -1]) expect(await run(words, "wrong", "stuck_orders", number), `${number}`).toBe(0);
  expect(await run(words, "wrong", "stuck_orders", 4)).toBe(1);
  expect(await database.admin`select ahead from ledger_metrics.totals where ahead <> 0`).toEqual([{ ahead: "4" }]);
});

it.each([
  ["an administrator", ""],
  ["the service without AWS", "set session authorization veza_ledger"],
])("takes on the receiver's role in a session of %s, too", async (_, begin) => {
  const asAnother = postgres(database.adminUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => asAnother.end());
  await asAnother.unsafe(begin);
  for (const statement of statements) {
    const asking = statement.replace(/^set local search_path.*$/m, "select current_user;");
    const answers = await asAnother.unsafe(asking);
    expect(answers.flat(), statement).toContainEqual({ current_user: "veza_ledger_receiver" });
  }
});

it("forgets the last run of one phase, until a sweep names it again", async () => {
  const lastRunOf = (phase: string) => `veza_reconciler_phase_last_run_timestamp_seconds{phase="${phase}"}`;
  const sweepOf = (phase: string) => ({ ...sweep, data: { ...sweep.data, phase } });
  const before = await count("before", ...all, sweepOf("stuck_orders"), sweepOf("stuck_refunds"));
  expect(await run(["set value = 0", "phase_last_run"])).toBe(1);
  expect(await count("nothing")).toEqual({ ...before, [lastRunOf("stuck_orders")]: 0 });
  const again = await count("again", sweepOf("stuck_orders"));
  expect(again[lastRunOf("stuck_orders")]).toBe(Date.parse(timestamp) / 1_000);
});

describe("the page's deletion of the group", await needs("psql", "curl"), async () => {
  const [deletion = ""] = (await blocksOf(page, "sh")).filter((block) => block.includes("DELETE"));
  const lowering = statements.find((sql) => sql.includes("orphan_refunds_total")) ?? "";
  const lowered = lowering.replace("ahead = ahead +", "value = value -");
  const runDeletion = async (PUSHGATEWAY_URL: string, id: string, STAGE = stage, PUSHGATEWAY_TOKEN?: string) => {
    const [update = ""] = /^with wrong[^;]*;$/m.exec(lowered.replaceAll("WEBHOOK-ID", id)) ?? [];
    const block = deletion.replace(/^-- .*$/m, update);
    expect(block).toContain("value = value - number");
    const set = { PUSHGATEWAY_URL, STAGE, PUSHGATEWAY_TOKEN, DATABASE_URL: database.receiverUrl };
    return runProgram("bash", ["-c", block], set).exited;
  };

  it("lowers a total at once, in one transaction", async () => {
    await count("right", orphan);
    expect(await count("wrong", orphan)).toMatchObject({ veza_reconciler_orphan_refunds_total: 2 });
    const { exitCode, output } = await runDeletion(inject("pushgatewayUrl"), "wrong");
    expect(exitCode, output).toBe(0);
    expect(output).toContain("The group is deleted.");
    expect(await scrape(stage)).toEqual({});
    expect(await count("nothing")).toMatchObject({
      veza_reconciler_orphan_refunds_total: 1,
      veza_reconciler_counters_held: 0,
    });
  });

  it("changes nothing where the gateway does not delete it, or has no such group, and brings the token if there is one", async () => {
    const before = await count("right", orphan);
    const seen: unknown[] = [];
    const redirecting = await httpServer((request, response) => {
      seen.push([request.method, request.headers.authorization]);
      const shown = `push_time_seconds{instance="",job="veza_reconciler",stage="${stage}"} 1`;
      response.writeHead(request.method === "DELETE" ? 308 : 200, { location: "/" }).end(shown);
    });
    for (const token of [undefined, "hunter2"]) {
      expect((await runDeletion(redirecting, "right", stage, token)).output).toContain("The group is not deleted");
    }
    const bearer = "Bearer hunter2";
    expect(seen).toEqual([
      ["GET", undefined],
      ["DELETE", undefined],
      ["GET", bearer],
      ["DELETE", bearer],
    ]);
    expect((await runDeletion(`${inject("pushgatewayUrl")}/`, "right", "another")).output).not.toContain("COMMIT");
    expect(await count("nothing")).toEqual(before);
  });
});
