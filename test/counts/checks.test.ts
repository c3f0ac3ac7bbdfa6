// Each check's count and oldest row, on a real ledger, and what becomes of a check that fails.

import { afterAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { connect } from "../../commands/connect.ts";
import { checks, type Outcome, runChecks, seriesOf } from "../../lib/checks.ts";
import { deadline } from "../../lib/deadline.ts";
import { askOn } from "../../lib/question.ts";
import { createDatabase, lockTable, targetOf } from "../helpers/database.ts";
import { countsOf, forEachCheck, insertRows, modelOf, needs, onTable, readsProviderId } from "../helpers/models.ts";
import { startProxy } from "../helpers/proxy.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

const database = await createDatabase();
afterAll(() => database.remove());
beforeEach(() => database.admin`truncate orders, refunds, seller_transfers`);

/** Runs the checks with the role that they have in production. */
const sample = (url = database.samplerUrl) => sampleAs(url);

const byId = (outcomes: Outcome[]) => Object.fromEntries(outcomes.map((outcome) => [outcome.check.id, outcome]));
const counts = (outcomes: Outcome[]) => countsIn(outcomes, () => "failed");
const allZero = forEachCheck(() => 0);
const statuses = "pending,paid,failed,cancelled,succeeded,completed,reversed,PENDING,pending ".split(",");

it("counts nothing on an empty and on a healthy ledger, and knows no oldest row", async () => {
  expect(counts(await sample())).toEqual(allZero);
  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id, created_at) values ('paid', 'p', now() - interval '1 day'),
      ('pending', 'p', now());
    insert into refunds (status, hyperswitch_refund_id, created_at) values ('succeeded', 'r', now() - interval '1 day'),
      ('pending', 'r', now()), ('pending', null, now());
    insert into seller_transfers (status, updated_at) values ('completed', now() - interval '1 day'),
      ('reversal_pending', now())`);
  const outcomes = await sample();
  expect(counts(outcomes)).toEqual(allZero);
  expect(outcomes.map((outcome) => "oldestSeconds" in outcome && outcome.oldestSeconds)).toEqual(checks.map(() => 0));
});

describe.each(checks)("$id", (check) => {
  const { status, hasProviderId, staleAfterMinutes } = modelOf(check);
  const insert = (change = {}) => database.admin.unsafe(insertRows(check, 1, change));
  const others = statuses.filter((other) => other !== status).map((other) => ({ status: other }));

  it("counts one broken row, and no other check does", async () => {
    await insert();
    expect(countsOf(check, [{}])).toMatchObject({ [check.id]: 1 });
    expect(counts(await sample())).toEqual(countsOf(check, [{}]));
  });

  it(
    staleAfterMinutes ? `counts from ${staleAfterMinutes} minutes on, and not before` : "counts at any age",
    async () => {
      const minutes = staleAfterMinutes ?? 0;
      await insert({ age: `${minutes} minutes -20 seconds` });
      const tooYoung = minutes ? 0 : 1;
      expect(counts(await sample())).toMatchObject({ [check.id]: tooYoung });
      await insert({ age: `${minutes} minutes 1 second` });
      expect(counts(await sample())).toMatchObject({ [check.id]: tooYoung + 1 });
    },
  );

  it("does not count other statuses, or rows that differ in having an id at the provider", async () => {
    const changes = hasProviderId === undefined ? others : [...others, { hasProviderId: !hasProviderId }];
    for (const change of changes) await insert(change);
    expect(countsOf(check, changes)).toMatchObject({ [check.id]: 0 });
    expect(counts(await sample())).toEqual(countsOf(check, changes));
  });

  it("knows the oldest of the rows that it counted", async () => {
    await insert({ age: "2 days" });
    await insert({ age: "3 days" });
    for (const other of others) await insert({ ...other, age: "9 days" });
    const outcome = byId(await sample())[check.id];
    const age = outcome && "oldestSeconds" in outcome ? Date.now() / 1000 - (outcome.oldestSeconds ?? 0) : 0;
    expect(age).toBeGreaterThan(3 * 86_400 - 1);
    expect(age).toBeLessThan(3 * 86_400 + 5);
  });
});

describe("a check that fails leaves the others right", () => {
  const oneTransfer = { ...allZero, failed_transfers: 1 };
  beforeEach(
    () => database.admin`insert into seller_transfers (status, updated_at) values ('permanently_failed', now())`,
  );

  it("when its column is missing", async () => {
    await database.admin`alter table orders rename hyperswitch_payment_id to gone`;
    try {
      const outcomes = await sample();
      expect(counts(outcomes)).toEqual({ ...oneTransfer, ...onTable("orders", "failed", readsProviderId) });
      expect(byId(outcomes).stuck_orders).toMatchObject({ error: { code: "42703" } });
    } finally {
      await database.admin`alter table orders rename gone to hyperswitch_payment_id`;
    }
  });

  it("when it would have to write, which says nothing about the connection", async () => {
    for (const check of checks.filter(({ table }) => table === "orders")) {
      await database.admin.unsafe(insertRows(check, 1));
    }
    await database.admin.unsafe(`
      create sequence touched; grant usage on touched to veza_ledger_sampler;
      alter table orders rename to real_orders;
      create view orders as select * from real_orders where nextval('touched') > 0;
      grant select on orders to veza_ledger_sampler`);
    onTestFinished(async () => {
      await database.admin.unsafe("drop view orders; alter table real_orders rename to orders; drop sequence touched");
    });
    await lockTable(database, "refunds"); // Its checks take half a second, so that the one after them comes late.
    const outcomes = await sample();
    const failed = { ...onTable("refunds", "failed"), ...onTable("orders", "failed") };
    expect(counts(outcomes)).toEqual({ ...oneTransfer, ...failed });
    expect(byId(outcomes).stuck_orders).toMatchObject({ error: { code: "25006" } });
  });
});

it("takes only a count for a count", async () => {
  const answering = (row: object | undefined) => async () => [row] as never;
  const sound = { count: "7", oldest: "1.5", time_type: "timestamp with time zone", hides_rows: false };
  expect(await runChecks(answering(sound))).toMatchObject(checks.map(() => ({ count: 7, oldestSeconds: 1.5 })));
  const most = { ...sound, count: "9007199254740991" };
  expect(counts(await runChecks(answering(most)))).toMatchObject({
    stuck_orders: Number.MAX_SAFE_INTEGER,
  });
  for (const row of [
    undefined,
    {},
    { ...sound, count: null },
    { ...sound, count: -1 },
    { ...sound, count: 7.5 },
    { ...sound, count: "1e+01" },
    { ...sound, count: "" },
    { ...sound, count: "9007199254740993" },
    { ...sound, time_type: "date" },
    { ...sound, hides_rows: true },
    { ...sound, hides_rows: undefined },
  ]) {
    expect(counts(await runChecks(answering(row)))).toMatchObject({ stuck_orders: "failed" });
  }
});

it("exports -1, no success and no oldest row for a check that failed, never 0", () => {
  const outcomes = checks.map(
    (check, index): Outcome =>
      index === 0 ? { check, error: new Error("no") } : { check, count: index, oldestSeconds: 100 + index },
  );
  expect(seriesOf(outcomes)).toEqual(
    checks.flatMap(({ id, metric }, index) => [
      { name: metric, labels: {}, value: index || -1 },
      { name: "veza_ledger_check_success", labels: { check: id }, value: Math.min(index, 1) },
      ...(index
        ? [{ name: "veza_ledger_oldest_item_timestamp_seconds", labels: { check: id }, value: 100 + index }]
        : []),
    ]),
  );
});

it.each([
  ["one round trip", 1, ""],
  [
    "two round trips, where the oldest failed transfer cannot be had",
    2,
    "alter table seller_transfers drop updated_at",
  ],
])("asks all checks in %s", async (_, expected, change) => {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  await database.admin.unsafe(change);
  // Each side's data takes a while: whatever is pipelined is on its way before the first answer is back.
  let roundTrips = 0;
  let isAnswered = true;
  const { port } = await startProxy(targetOf(database.samplerUrl).port, {
    delayMs: 20,
    allow: () => {
      if (isAnswered) roundTrips += 1;
      isAnswered = false;
      return true;
    },
    answer: (chunk) => {
      isAnswered = true;
      return chunk;
    },
  });
  const checksDeadline = deadline("Postgres", 8_000);
  const target = { ...targetOf(database.samplerUrl), port };
  const connection = await connect(async () => target, "test", checksDeadline);
  for (let tick = 0; tick < 3; tick += 1) {
    roundTrips = 0;
    const outcomes = await runChecks(askOn(connection, checksDeadline));
    const failed = change && onTable("seller_transfers", "failed", needs("updated_at"));
    expect(counts(outcomes)).toEqual({ ...allZero, ...failed });
    expect(roundTrips).toBeGreaterThanOrEqual(expected);
    expect(roundTrips).toBeLessThanOrEqual(2 * expected - 1); // Refusals that arrive apart are followed up apart.
  }
  await connection.close();
});
