// What the first question of a session finds out: whether the answers after it can be trusted.

import { beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { checks } from "../../lib/counts/checks.ts";
import type { Outcome } from "../../lib/counts/counting.ts";
import { takeSample } from "../../lib/counts/sample.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { clockDifferenceSeconds } from "../../lib/postgres/session-facts.ts";
import { databasePerTest, lend, openConnection } from "../helpers/database.ts";
import { forEachCheck, insertRows } from "../helpers/models.ts";
import { countsIn, sampleAs, sampleOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
const broken = checks.map((check) => insertRows(check, 2, { age: "2 days" })).join("\n");
beforeEach(() => run(broken));

const counts = (outcomes: Outcome[]) => countsIn(outcomes, (error) => (error as Error).message);

it.each([
  ["ahead", 90_000],
  ["behind", -90_000],
])("fails each check that counts minutes when the sampler's clock is %s, and says by how much", async (_, apartMs) => {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const now = Date.now();
  const sampleAt = (ms: number) => {
    vi.setSystemTime(now + ms);
    return sampleOf(database.samplerUrl);
  };
  const apart = expect.stringMatching(/^the clocks of Postgres and the sampler are [89]\d s apart$/);
  await run(`insert into ledger_metrics.accepted ("check", id, until, why)
    select 'failed_transfers', id::text, now() + interval '1 day', 'known' from seller_transfers`);
  const wrong = await sampleAt(apartMs);
  expect(wrong.open.failed_transfers).toMatchObject({ overdue: 0 }); // What was accepted stays out of the alert.
  expect(counts(wrong.outcomes)).toEqual(forEachCheck(({ stuckAfter }) => (stuckAfter ? apart : 2)));
  expect(wrong.evidence).toEqual([]); // Each row would be ahead, or none.
  const right = await sampleAt(Math.sign(apartMs) * 40_000);
  expect(counts(right.outcomes)).toEqual(forEachCheck(() => 2));
  expect(clockDifferenceSeconds(Date.now() / 1000, Date.now() / 1000 - 8)).toBe(0); // An answer may take a while.
});

it.each([
  ["that is not there", ""],
  ["that the sampler may not use", "create schema veza_views"],
])("counts nothing in a schema %s", async (_, statement) => {
  await run(statement);
  const outcomes = await sampleAs(database.samplerUrl, { schema: "veza_views" });
  const reason = "LEDGER_SCHEMA: veza_views is not there, or this role may not use it";
  expect(counts(outcomes)).toEqual(forEachCheck(() => reason));
});

it.each([
  [" as now", "Postgres left the first question unanswered"],
  [" as is_replica", "a replica: name the primary"],
])("counts nothing where the first answer lacks%s", async (field, reason) => {
  const connection = await openConnection(database.samplerUrl);
  const unsafe = (message: string) => connection.sql.unsafe(message.replace(field, " as other"));
  const lacking = { ...connection, sql: { unsafe } } as unknown as Database;
  const { outcomes } = await takeSample(
    lend(lacking, async () => lacking),
    deadlineFor("test", 60_000),
  );
  expect(counts(outcomes)).toEqual(forEachCheck(() => reason));
});
