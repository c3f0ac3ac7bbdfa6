import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { Outcome } from "../lib/checks.ts";
import { createDatabase, type TestDatabase, targetOf } from "./helpers/database.ts";
import { sampleAs } from "./helpers/sample.ts";

// Schemas and settings that a ledger may have besides those of local/ledger.sql: each count is right, or failed.

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase();
  onTestFinished(() => database.admin.end());
});

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));

const sample = (url = database.samplerUrl) => sampleAs(url);

const failure = (error: unknown) => (error as { code?: string }).code ?? (error as Error).message;
const counts = (outcomes: Outcome[]) =>
  Object.fromEntries(
    outcomes.map((outcome) => [outcome.check.id, "error" in outcome ? failure(outcome.error) : outcome.count]),
  );
const oldest = (outcomes: Outcome[]) =>
  Object.fromEntries(
    outcomes.map((outcome) => [outcome.check.id, "error" in outcome ? "failed" : outcome.oldestSeconds]),
  );

/** Two stuck orders, three stuck refunds, one failed transfer, two orphan refunds, four pending reversals. */
const broken = `
  insert into orders (status, hyperswitch_payment_id, created_at)
    select 'pending', 'pay', now() - interval '1 hour' from generate_series(1, 2);
  insert into refunds (status, hyperswitch_refund_id, created_at)
    select 'pending', 'ref', now() - interval '1 hour' from generate_series(1, 3);
  insert into refunds (status, created_at) select 'pending', now() - interval '1 hour' from generate_series(1, 2);
  insert into seller_transfers (status, updated_at) values ('permanently_failed', now() - interval '1 hour');
  insert into seller_transfers (status, updated_at)
    select 'reversal_pending', now() - interval '1 hour' from generate_series(1, 4)`;
const truth = { stuck_orders: 2, stuck_refunds: 3, failed_transfers: 1, orphan_refunds: 2, pending_reversals: 4 };

describe("row-level security", () => {
  beforeEach(async () => {
    await run(broken);
    await run("alter table orders enable row level security");
  });

  it("fails a count instead of hiding its rows, and leaves the others alone", async () => {
    expect(counts(await sample())).toEqual({ ...truth, stuck_orders: "42501" });
    await run("create policy all_rows on orders using (true)");
    expect(counts(await sample())).toEqual({ ...truth, stuck_orders: "42501" });
    await run("alter table refunds enable row level security; alter table seller_transfers enable row level security");
    expect(Object.values(counts(await sample()))).toEqual(Array(5).fill("42501"));
  });

  it("fails it also for a login that has none of roles.sql's settings", async () => {
    const login = `member_${randomBytes(4).toString("hex")}`;
    await run(`create role ${login} login password 'x' in role veza_ledger_sampler`);
    onTestFinished(() => run(`drop role ${login}`));
    const url = database.samplerUrl.replace("veza_ledger_sampler:sampler", `${login}:x`);
    expect(counts(await sample(url))).toEqual({
      ...truth,
      stuck_orders: "row-level security may hide rows from this role",
    });
    await run(`alter role ${login} bypassrls`);
    expect(counts(await sample(url))).toEqual(truth);
  });

  it("counts through a view of the owner's, and not through one that asks as its caller", async () => {
    await run(`alter table orders rename to protected_orders; create view orders as select * from protected_orders;
      grant select on orders to veza_ledger_sampler`);
    expect(counts(await sample())).toEqual(truth);
    await run(`alter view orders set (security_invoker = true);
      grant select on protected_orders to veza_ledger_sampler`);
    expect(counts(await sample())).toEqual({ ...truth, stuck_orders: "42501" });
  });
});

describe("times without a zone", () => {
  /** Three orders that are stuck, and others that are not, as a process in this zone writes them. */
  async function write(zone: string) {
    await run(`alter table orders alter created_at type timestamp using null, alter created_at drop default`);
    await run(`set timezone = '${zone}'; insert into orders (status, hyperswitch_payment_id, created_at)
      select 'pending', 'pay', (now() - age)::timestamp from unnest('{31 min, 3 h, 2 d, 29 min, 1 min}'::interval[]) as age`);
  }
  const setZone = (zone: string) =>
    run(`alter role veza_ledger_sampler in database ${targetOf(database.adminUrl).database} set timezone = '${zone}'`);

  beforeEach(() => run("alter table orders alter created_at drop not null"));

  it.each(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata"])(
    "are counted and exported right when the session's zone is the writer's, %s",
    async (zone) => {
      await write(zone);
      await setZone(zone);
      const outcomes = await sample();
      expect(counts(outcomes)).toMatchObject({ stuck_orders: 3 });
      const age = Date.now() / 1000 - Number(oldest(outcomes).stuck_orders);
      expect(Math.abs(age - 2 * 86_400)).toBeLessThan(60);
    },
  );

  it("are UTC when nobody chose another zone, wherever the server was set up", async () => {
    await run(`alter database ${targetOf(database.adminUrl).database} set timezone = 'Europe/Paris'`);
    await write("UTC");
    const outcomes = await sample();
    expect(counts(outcomes)).toMatchObject({ stuck_orders: 3 });
    expect(Date.now() / 1000 - Number(oldest(outcomes).stuck_orders) - 2 * 86_400).toBeLessThan(60);
  });
});

describe("times that are none", () => {
  it("count with their rows, and are no oldest row", async () => {
    await run(broken);
    await run(`
      insert into orders (status, hyperswitch_payment_id, created_at)
        values ('pending', 'pay', '-infinity'), ('pending', 'pay', 'infinity');
      update seller_transfers set updated_at = 'infinity' where status = 'permanently_failed'`);
    const outcomes = await sample();
    expect(counts(outcomes)).toEqual({ ...truth, stuck_orders: 3 });
    expect(Date.now() / 1000 - Number(oldest(outcomes).stuck_orders)).toBeLessThan(3_700);
    expect(oldest(outcomes)).toMatchObject({ failed_transfers: undefined });
  });

  it("are unknown when they are NULL, and not the 0 that means that there is no row", async () => {
    await run("alter table seller_transfers alter updated_at drop not null");
    await run("insert into seller_transfers (status, updated_at) values ('permanently_failed', null)");
    const outcomes = await sample();
    expect(counts(outcomes)).toMatchObject({ failed_transfers: 1 });
    expect(oldest(outcomes)).toMatchObject({ failed_transfers: undefined, pending_reversals: 0 });
  });

  it("are exported as they are when they are Go's zero time", async () => {
    await run(
      "insert into seller_transfers (status, updated_at) values ('permanently_failed', '0001-01-01 00:00:00Z')",
    );
    expect(oldest(await sample())).toMatchObject({ failed_transfers: Date.parse("0001-01-01T00:00:00Z") / 1000 });
  });
});

it("shows all digits, however few the database shows of a float", async () => {
  await run(`alter database ${targetOf(database.adminUrl).database} set extra_float_digits = -15`);
  await run(`insert into seller_transfers (status, updated_at)
    select 'permanently_failed', '2026-01-31 12:00:00.25Z' from generate_series(1, 12)`);
  const outcomes = await sample();
  expect(counts(outcomes)).toMatchObject({ failed_transfers: 12 });
  expect(oldest(outcomes)).toMatchObject({ failed_transfers: Date.parse("2026-01-31T12:00:00.250Z") / 1000 });
});

describe("a count whose oldest row cannot be had is a count", () => {
  beforeEach(() => run(broken));

  it.each([
    ["the column is not there", "alter table seller_transfers drop updated_at", "42703"],
    ["it may not be read", "revoke select (updated_at) on seller_transfers from veza_ledger_sampler", "42501"],
    [
      "it is a number",
      "alter table seller_transfers alter updated_at drop default, alter updated_at type bigint using 0",
      "42883",
    ],
  ])("when %s", async (_, change, code) => {
    await run(change);
    const outcomes = await sample();
    expect(counts(outcomes)).toEqual({ ...truth, pending_reversals: code });
    expect(oldest(outcomes)).toMatchObject({ failed_transfers: undefined });
  });

  it("but not when it is the rows that may not be read", async () => {
    await run("alter table seller_transfers drop updated_at; alter table seller_transfers enable row level security");
    expect(counts(await sample())).toMatchObject({ failed_transfers: "42501" });
    await run("alter table seller_transfers drop status");
    expect(counts(await sample())).toMatchObject({ failed_transfers: "42703" });
  });
});

describe("columns of other types", () => {
  beforeEach(() => run(broken));
  const change = (column: string, type: string, using: string) =>
    run(`alter table orders alter ${column} drop default, alter ${column} type ${type} using ${using}`);

  it.each([
    [
      "a status that is an enum",
      () => run("create type state as enum ('pending', 'paid')").then(() => change("status", "state", "status::state")),
      2,
    ],
    [
      "an enum without the status",
      () => run("create type state as enum ('awaiting')").then(() => change("status", "state", "'awaiting'")),
      "22P02",
    ],
    ["a status that is varchar", () => change("status", "varchar(20)", "status"), 2],
    ["an id that is a uuid", () => change("hyperswitch_payment_id", "uuid", "gen_random_uuid()"), "22P02"],
    ["an id that is a number", () => change("hyperswitch_payment_id", "bigint", "1"), "22P02"],
    ["a time that is Unix time", () => change("created_at", "bigint", "0"), "42883"],
    ["a time that is text", () => change("created_at", "text", "created_at::text"), "42883"],
    [
      "a time that is a date",
      () => change("created_at", "date", "created_at"),
      "the column is a date: it cannot tell minutes",
    ],
    [
      "a time of a domain over date",
      () => run("create domain day as date").then(() => change("created_at", "day", "created_at")),
      "the column is a date: it cannot tell minutes",
    ],
  ])("%s: right, or failed with the reason", async (_, alter, expected) => {
    await alter();
    expect(counts(await sample())).toEqual({ ...truth, stuck_orders: expected });
  });

  it("a failed transfer counts although its time is a date", async () => {
    await run("alter table seller_transfers alter updated_at type date");
    const outcomes = await sample();
    expect(counts(outcomes)).toMatchObject({ failed_transfers: 1 });
    expect(Number(oldest(outcomes).failed_transfers) % 86_400).toBe(0);
  });
});
