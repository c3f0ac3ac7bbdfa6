// The SQL of docs/other-languages.md, by which a worker in any language sends what is in the outbox.
import { expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { maxEvents } from "../../lib/limits.ts";
import { databaseForTest } from "../helpers/database.ts";
import { blocksOf } from "../helpers/pages.ts";

const [enqueue = "", enqueueAs = "", , claim = "", sent = "", parked = "", failed = "", parkOld = "", purge = ""] =
  await blocksOf("docs/other-languages.md", "sql");

it("docs/other-languages.md claims each row once, those that failed last, and writes down what became of it", async () => {
  const { admin, adminUrl } = await databaseForTest();
  await runSqlFiles(adminUrl, ["clients/go/outbox.sql"]);
  for (const id of ["good", "bad", "slow"]) expect(await admin.unsafe(enqueueAs, [id, "[]"])).toEqual([{ id }]);
  expect(await admin.unsafe(enqueueAs, ["good", "[]"]), "it is there").toEqual([]);
  const claimed: Record<string, Date> = {}; // A driver that has no microseconds.
  for (let row = 0; row < 3; row++) {
    const [{ id, claim: name } = { id: "", claim: new Date(0) }] = await admin.unsafe(claim);
    claimed[id] = name;
  }
  expect(Object.keys(claimed)).toEqual(["good", "bad", "slow"]);
  expect(await admin.unsafe(claim)).toEqual([]);

  const of = (id: string) => [id, claimed[id] ?? new Date(0)];
  expect(await admin.unsafe(sent, of("good"))).toHaveProperty("count", 1);
  expect(await admin.unsafe(parked, [...of("bad"), "unknown phase"])).toHaveProperty("count", 1);
  expect(await admin.unsafe(failed, [...of("slow"), "503", 0])).toHaveProperty("count", 1);
  expect(await admin.unsafe(sent, of("slow")), "its claim has ended").toHaveProperty("count", 0);
  const rows = await admin`select id, attempts, last_error, claimed_until, sent_at > first_sent_at as is_sent,
    parked_at is not null as is_parked
    from ledger_outbox.deliveries where sent_at is null or id = 'good' order by seq`;
  const common = { attempts: 1, claimed_until: null };
  expect(rows).toMatchObject([
    { id: "good", ...common, is_sent: true, last_error: null },
    { id: "bad", ...common, is_parked: true, last_error: "unknown phase" },
    { id: "slow", ...common, is_sent: null, is_parked: false, last_error: "503" },
  ]);

  await admin`update ledger_outbox.deliveries set next_attempt_at = now() - interval '1 minute' where id = 'slow'`;
  await admin.unsafe(enqueueAs, ["new", "[]"]);
  expect(await admin.unsafe(claim)).toMatchObject([{ id: "new" }]);
  const [slow] = await admin.unsafe(claim);
  expect(slow).toMatchObject({ id: "slow" });
  await admin.unsafe(failed, ["slow", slow?.claim, "503", 600]);
  expect(
    await admin`select from ledger_outbox.deliveries
    where next_attempt_at - now() between interval '590 s' and interval '600 s'`,
  ).toHaveLength(1);
  await admin`update ledger_outbox.deliveries set next_attempt_at = now() where id = 'slow'`;
  const [again] = await admin.unsafe(claim);
  await admin.unsafe(failed, ["slow", again?.claim, "503", 86_400]);
  expect(
    await admin`select from ledger_outbox.deliveries
    where next_attempt_at - now() between interval '59 minutes' and interval '60 minutes'`,
    "no proxy silences a row for a day",
  ).toHaveLength(1);
  await admin`update ledger_outbox.deliveries set next_attempt_at = now(), first_sent_at = now() - interval '13.1 days'
    where id = 'slow'`;
  expect(await admin.unsafe(claim), "nobody sends what the receiver may have forgotten").toEqual([]);
  await admin`update ledger_outbox.deliveries set claimed_until = now() + interval '1 minute' where id = 'slow'`;
  expect(await admin.unsafe(parkOld), "while it is being sent").toHaveProperty("count", 0);
  await admin`update ledger_outbox.deliveries set claimed_until = now() where id = 'slow'`;
  expect(await admin.unsafe(parkOld)).toHaveProperty("count", 1);
  expect(await admin`select id from ledger_outbox.deliveries where last_error ~ '^not sent again'`).toMatchObject([
    { id: "slow" },
  ]);

  // Two honest repairs have the same body. A third has found nothing to repair, and a fourth two rows.
  for (const rows of [1, 1, 0, 2]) await admin.unsafe(enqueue, ["[1, 7]", rows]);
  const bodies = await admin`select body from ledger_outbox.deliveries where id ~ '^evt-' order by seq`;
  expect(bodies.map(({ body }) => body)).toEqual(["[1, 7]", "[1, 7]", "[1, 7, 1, 7]"]);
  await admin.unsafe(enqueue, ["[2, 8]", 1_000]);
  const [many] = await admin`select sum(events)::int as all, max(events) <= ${maxEvents} as are_taken
    from (select jsonb_array_length(body::jsonb) as events from ledger_outbox.deliveries where body ~ '^.2') as bodies`;
  expect(many).toEqual({ all: 2_000, are_taken: true });

  // Ids of one's own stay for a year.
  await admin`update ledger_outbox.deliveries set sent_at = now() - interval '15 days'`;
  await admin.unsafe(purge);
  expect(await admin`select id from ledger_outbox.deliveries order by id`).toMatchObject([
    { id: "bad" },
    { id: "good" },
    { id: "new" },
    { id: "slow" },
  ]);
  await admin`update ledger_outbox.deliveries set sent_at = now() - interval '1 year 1 day'`;
  await admin.unsafe(purge);
  expect(await admin`select from ledger_outbox.deliveries`).toEqual([]);
});
