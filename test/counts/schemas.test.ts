// Schemas and settings that a ledger may have, other than local/ledger.sql: each count is right, or fails.

import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { checks, type Outcome } from "../../lib/checks.ts";
import { createDatabase, type TestDatabase, targetOf } from "../helpers/database.ts";
import { forEachCheck, insertRows, needs, onTable, readsProviderId } from "../helpers/models.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase();
  onTestFinished(() => database.remove());
});

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));

const sample = (url = database.samplerUrl) => sampleAs(url);

const failure = (error: unknown) => (error as { code?: string }).code ?? (error as Error).message;
const counts = (outcomes: Outcome[]) => countsIn(outcomes, failure);
const oldest = (outcomes: Outcome[]) =>
  Object.fromEntries(
    outcomes.map((outcome) => [outcome.check.id, "error" in outcome ? "failed" : outcome.oldestSeconds]),
  );

/** One row that the first check counts, two rows that the second check counts, and so on. */
const broken = checks.map((check, index) => insertRows(check, index + 1)).join("\n");
const truth = forEachCheck((_, index) => index + 1);
const { stuck_orders: orders = 0, failed_transfers: transfers = 0 } = truth;

describe("row-level security", () => {
  beforeEach(async () => {
    await run(broken);
    await run("alter table orders enable row level security");
  });

  it("fails a count instead of hiding its rows, and leaves the others alone", async () => {
    expect(counts(await sample())).toEqual({ ...truth, ...onTable("orders", "42501") });
    await run("create policy all_rows on orders using (true)");
    expect(counts(await sample())).toEqual({ ...truth, ...onTable("orders", "42501") });
    await run("alter table refunds enable row level security; alter table seller_transfers enable row level security");
    expect(counts(await sample())).toEqual(forEachCheck(() => "42501"));
  });
});

describe("times without a zone", () => {
  /** Three orders that are stuck, and others that are not, as a process in this zone writes them. */
  async function write(zone: string) {
    await run(`alter table orders alter created_at type timestamp using null, alter created_at drop default`);
    await run(`set timezone = '${zone}'; insert into orders (status, hyperswitch_payment_id, created_at)
      select 'pending', 'pay', (now() - age)::timestamp
      from unnest('{31 min, 3 h, 2 d, 29 min, 1 min}'::interval[]) as age`);
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
    expect(counts(outcomes)).toMatchObject({ stuck_orders: orders + 1, failed_transfers: transfers });
    expect(Date.now() / 1000 - Number(oldest(outcomes).stuck_orders)).toBeLessThan(100 * 60); // 30 minutes and an hour.
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
    expect(counts(outcomes)).toEqual({ ...truth, ...onTable("seller_transfers", code, needs("updated_at")) });
    expect(oldest(outcomes)).toMatchObject({ failed_transfers: undefined });
  });

  it("when a time without a zone is earlier than any time with one", async () => {
    const name = targetOf(database.adminUrl).database;
    await run(`alter role veza_ledger_sampler in database ${name} set timezone = 'Asia/Kolkata'`);
    await run(`alter table seller_transfers alter updated_at type timestamp;
      update seller_transfers set updated_at = '4714-11-24 00:00 BC'
        where status ~ '^(permanently_failed|reversal_pending)$'`);
    const outcomes = await sample();
    expect(counts(outcomes)).toEqual(truth);
    expect(oldest(outcomes)).toMatchObject({ failed_transfers: undefined, pending_reversals: undefined });
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

  const asEnum = async (labels: string[]) => {
    await run(`create type state as enum ('${[...new Set(labels)].join("', '")}')`);
    await change("status", "state", labels.length > 1 ? "status::state" : `'${labels}'`);
  };
  const statuses = checks.filter(({ table }) => table === "orders").map(({ status }) => status);
  const isDate = "the column is a date: it cannot tell minutes";

  it.each([
    ["a status that is an enum", () => asEnum(["paid", ...statuses])],
    ["a status that is varchar", () => change("status", "varchar(20)", "status")],
  ])("%s: right", async (_, alter) => {
    await alter();
    expect(counts(await sample())).toEqual(truth);
  });

  it.each([
    ["an enum without the status", () => asEnum(["awaiting"]), "22P02"],
    [
      "an id that is a uuid",
      () => change("hyperswitch_payment_id", "uuid", "gen_random_uuid()"),
      "22P02",
      readsProviderId,
    ],
    ["an id that is a number", () => change("hyperswitch_payment_id", "bigint", "1"), "22P02", readsProviderId],
    ["a time that is Unix time", () => change("created_at", "bigint", "0"), "42883", needs("created_at")],
    ["a time that is text", () => change("created_at", "text", "created_at::text"), "42883", needs("created_at")],
    ["a time that is a date", () => change("created_at", "date", "created_at"), isDate, needs("created_at")],
    [
      "a time of a domain over date",
      () => run("create domain day as date").then(() => change("created_at", "day", "created_at")),
      isDate,
      needs("created_at"),
    ],
  ])("%s: failed with the reason", async (_, alter, reason, isAffected = () => true) => {
    await alter();
    expect(counts(await sample())).toEqual({ ...truth, ...onTable("orders", reason, isAffected) });
  });

  it("a failed transfer counts although its time is a date", async () => {
    await run("alter table seller_transfers alter updated_at type date");
    const outcomes = await sample();
    expect(counts(outcomes)).toMatchObject({ failed_transfers: transfers });
    expect(Number(oldest(outcomes).failed_transfers) % 86_400).toBe(0);
  });
});
