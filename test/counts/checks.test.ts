// What a check takes for a count, and what becomes of a check that fails. truth.test.ts has what it counts.

import { expect, it } from "vitest";
import { type Check, checks } from "../../lib/counts/checks.ts";
import {
  checkSuccessMetric,
  type Open,
  type Outcome,
  openAgeMetric,
  openEverywhere,
  runChecks,
  seriesOf,
} from "../../lib/counts/counting.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { askOn } from "../../lib/postgres/question.ts";
import { databasePerTest, inPublic, lockTable, openConnection, targetOf } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { forEachCheck, insertRows, needsTime, onTable } from "../helpers/models.ts";
import { startProxy } from "../helpers/proxy.ts";
import { countsIn, sampleAs } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
const failure = (error: unknown) => (error as { code?: string }).code ?? "failed";
const counts = (outcomes: Outcome[]) => countsIn(outcomes, failure);

it("leaves the others right when it would have to write, which is no reason to ask again", async () => {
  const log = captureLog();
  for (const check of checks.filter(({ table }) => table !== "refunds")) await run(insertRows(check, 1));
  await run(`
    create sequence touched; grant usage on touched to veza_ledger_sampler;
    alter table orders rename to real_orders;
    create view orders as select * from real_orders where nextval('touched') > 0;
    grant select on orders to veza_ledger_sampler`);
  await lockTable(database, "refunds"); // Its checks take half a second, so that the one after them comes late.
  const failed = { ...onTable("orders", "25006"), ...onTable("refunds", "55P03") };
  expect(counts(await sampleAs(database.samplerUrl))).toEqual({ ...forEachCheck(() => 1), ...failed });
  expect(log.map(({ code }) => code).sort()).toEqual(Object.values(failed).sort()); // Of their evidence, once.
});

it("has no series of a count that failed but -1, and that it failed", () => {
  const [check] = checks as [Check];
  expect(seriesOf([{ check, error: new Error("gone") }], 1_000, openEverywhere("all"))).toEqual([
    { name: check.metric, labels: {}, value: -1 },
    { name: checkSuccessMetric, labels: { check: check.id }, value: 0 },
  ]);
});

it.each([
  ["a row", { count: 1, oldestSeconds: 900 }, 100],
  ["no row", { count: 0, oldestSeconds: 0 }, 0],
  ["a row of a time ahead", { count: 1, oldestSeconds: 1_200 }, 1],
  ["rows without a known time", { count: 1, oldestSeconds: undefined }, Infinity],
])("of %s: for how long the oldest has waited", (_, found, age) => {
  const [check] = checks as [Check];
  const ageIn = (open: Open) =>
    seriesOf([{ check, overdue: 0, ...found }], 1_000, { ...openEverywhere("all"), [check.id]: open }).find(
      ({ name }) => name === openAgeMetric,
    )?.value;
  expect(ageIn("all")).toBe(age);
  expect(ageIn("unknown")).toBeUndefined();
  expect(ageIn({ overdue: 0, oldestSeconds: 950 })).toBe(50);
});

it("counts transfers of which the oldest has the first time that there is: in zones east of UTC, that is none", async () => {
  await run(`alter table seller_transfers alter updated_at drop default, alter updated_at type timestamp;
    ${insertRows({ id: "failed_transfers" }, 2)}
    update seller_transfers set updated_at = '4714-11-24 00:00:00 BC' where id = 1`);
  const outcomes = await sampleAs(database.samplerUrl, { timeZone: "Asia/Kolkata" });
  const ofTransfers = outcomes.find(({ check }) => check.id === "failed_transfers");
  expect(ofTransfers).toMatchObject({ count: 2, overdue: 2, oldestSeconds: undefined });
});

it("takes no count where a policy may hide rows, should the setting that makes this an error be lost", async () => {
  await run("alter table orders enable row level security");
  const { sql } = await openConnection(database.samplerUrl);
  const ask = async (question: string) =>
    (await sql.unsafe(`set local row_security = on; ${inPublic(question)}`)).at(-1);
  expect(counts(await runChecks(ask as never))).toEqual({ ...forEachCheck(() => 0), ...onTable("orders", "failed") });
});

it("takes only a count for a count", async () => {
  const taken = async (row: object | undefined) => counts(await runChecks(async () => [row] as never)).stuck_orders;
  const most = "9007199254740991";
  const sound = { count: most, overdue: most, oldest: "1.5", time_type: "timestamptz", hides_rows: false };
  expect(await taken(sound)).toBe(Number.MAX_SAFE_INTEGER);
  const others = [undefined, null, -1, 7.5, "1e+01", "", "9007199254740993"].flatMap((value) => [
    { ...sound, count: value },
    { ...sound, overdue: value },
  ]);
  const hidden = [true, undefined].map((hides_rows) => ({ ...sound, hides_rows }));
  for (const row of [undefined, ...others, ...hidden, { ...sound, time_type: "date" }]) {
    expect(await taken(row), JSON.stringify(row)).toBe("failed");
  }
});

it.each([
  ["one round trip", 1, ""],
  ["two round trips, where no oldest failed transfer can be had", 2, "alter table seller_transfers drop updated_at"],
])("asks all checks in %s", async (_, expected, change) => {
  await run(change);
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
  const connection = await openConnection(database.samplerUrl.replace(/:\d+\//, `:${port}/`));
  for (let tick = 0; tick < 3; tick += 1) {
    roundTrips = 0;
    const outcomes = await runChecks(askOn(connection, deadlineFor("Postgres", 60_000)));
    const failed = change && onTable("seller_transfers", "42703", needsTime("updated_at"));
    expect(counts(outcomes)).toEqual({ ...forEachCheck(() => 0), ...failed });
    expect(roundTrips).toBeGreaterThanOrEqual(expected);
    expect(roundTrips).toBeLessThanOrEqual(2 * expected - 1); // Refusals that arrive apart are followed up apart.
  }
});
