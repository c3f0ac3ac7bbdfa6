// Rows that somebody has accepted: what the sampler measures of them, what the doctor lists, and who may accept.

import { beforeEach, describe, expect, it } from "vitest";
import { pagesOfTick } from "../../bench/ledger.ts";
import { lookAtAcceptedRows } from "../../commands/doctor/accepted-rows.ts";
import { checks } from "../../lib/counts/checks.ts";
import { type Sample, takeSample } from "../../lib/counts/sample.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { databasePerTest, lend, lockTable, onCall, openConnection } from "../helpers/database.ts";
import { sceneOf } from "../helpers/doctor.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { unitTest, unitTestsIn, writeTests } from "../helpers/rule-tests.ts";
import { evidenceIn, evidenceOf, sampleOf } from "../helpers/sample.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const { database, run } = databasePerTest();
let log: ReturnType<typeof captureLog>;
beforeEach(() => {
  log = captureLog();
});
const accept = (check: string, id: unknown, until = "now() + interval '5 days'") =>
  run(`insert into ledger_metrics.accepted ("check", id, until, why)
    values ('${check}', '${id}', ${until}, 'the bank takes its days')`);
const names = ["accepted_rows", "overdue_rows"];
/** Of a check with accepted rows: how many it counts, and how many others are overdue. */
async function ofAccepted(): Promise<Record<string, unknown[]>> {
  const series = await evidenceOf(database.samplerUrl);
  const found = checks.map(({ id }): [string, unknown[]] => [id, names.map((name) => series[`${name}{check=${id}}`])]);
  return Object.fromEntries(found.filter(([, [accepted]]) => accepted !== undefined));
}
/** When the acceptances end that are shown, in seconds from now, by the checks' ids. */
async function ends(): Promise<Record<string, number>> {
  const series = await evidenceOf(database.samplerUrl, /^accepted_until/);
  const ofCheck = ([name, value]: [string, number]) => [/check=(\w+)/.exec(name)?.[1], value - Date.now() / 1000];
  return Object.fromEntries(Object.entries(series).map(ofCheck));
}
const about = (seconds: number) => expect.closeTo(seconds, -2);
const day = 86_400;

it("show the next end of those for over 14 days, which people forget, as long as their rows count", async () => {
  await run(insertRows({ id: "stuck_orders" }, 4, { age: "2 days" }));
  await accept("stuck_orders", 1, "now() + interval '14 days'");
  expect([(await ofAccepted()).stuck_orders?.[0], await ends()]).toEqual([1, {}]);
  for (const [id, days] of [
    [2, 30],
    [3, 80],
    [99, 20],
  ])
    await accept("stuck_orders", id, `now() + interval '${days} days'`);
  expect([(await ofAccepted()).stuck_orders?.[0], await ends()]).toEqual([3, { stuck_orders: about(30 * day) }]);
  await run("update orders set status = 'paid' where id = 2");
  expect(await ends()).toEqual({ stuck_orders: about(80 * day) });
  await run("update ledger_metrics.first_day set until = now() + interval '10 days'");
  expect(await ends()).toEqual({ stuck_orders: about(10 * day) }); // It hides the fourth row.
  await run(insertRows({ id: "failed_transfers" }, 1, { age: "-1 seconds" })); // Newer than the first day.
  await accept("failed_transfers", 1, "now() + interval '30 days'");
  expect(await ends()).toMatchObject({ failed_transfers: about(30 * day) });
  await run("update seller_transfers set updated_at = clock_timestamp()"); // It has failed again.
  expect(await ends()).not.toHaveProperty("failed_transfers");
});

const accepting = (rows: number) => `insert into ledger_metrics.accepted ("check", id, until, why)
  select 'stuck_orders', id::text, now() + interval '80 days', 'known' from orders order by id limit ${rows}`;

it.each(["bigint", "uuid using gen_random_uuid()", "varchar(40)"])(
  "cost a tick little beside a large backlog, with ids of the type %s",
  async (type) => {
    await run(
      `create or replace function gen_random_uuid() returns uuid language sql as 'select md5(random()::text)::uuid'`,
    );
    await run(`${insertRows({ id: "stuck_orders" }, 40_000, { age: "2 days" })}
      alter table orders alter id drop identity; alter table orders alter id type ${type.replace("gen_", "public.gen_")}; analyze orders`);
    await run("vacuum orders");
    const before = await pagesOfTick(database.admin);
    await run(accepting(10));
    const after = await pagesOfTick(database.admin);
    expect((await ofAccepted()).stuck_orders).toEqual([10, 39_990]);
    // The table is read for the count, for its evidence, and twice more.
    expect(after / before).toBeLessThan(2.1);
  },
);

it("cost a tick nothing once they were accepted over 90 days ago, however many they are", async () => {
  await run(insertRows({ id: "stuck_orders" }, 3, { age: "2 days" }));
  await run(accepting(3));
  const before = await pagesOfTick(database.admin);
  await run(`
    insert into ledger_metrics.accepted ("check", id, until, why, accepted_at)
      select 'stuck_orders', n::text, now() - interval '10 days', 'over', now() - interval '91 days'
      from generate_series(1, 20000) as n`);
  await run("vacuum analyze ledger_metrics.accepted");
  expect((await pagesOfTick(database.admin)) - before).toBeLessThan(100);
  expect((await ofAccepted()).stuck_orders).toEqual([3, 0]);
});

it("are none where the table is missing, or may not be read", async () => {
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "2 days" }));
  await accept("stuck_orders", 1);
  await run("revoke select on ledger_metrics.accepted_now from veza_ledger_sampler");
  expect(await ofAccepted()).toEqual({});
  expect(await evidenceOf(database.samplerUrl, /^overdue.*stuck_orders/)).toEqual({
    "overdue_rows{check=stuck_orders}": 1,
  });
  await run("drop table ledger_metrics.accepted cascade");
  expect(await ofAccepted()).toEqual({});
  expect(log).toEqual([]);
});

it("are unknown where the ledger has no ids, with a line in the log, and count as open then", async () => {
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "2 hours" }));
  await run("alter table orders rename id to number");
  await accept("stuck_orders", 1);
  expect(await ofAccepted()).toEqual({});
  expect(await evidenceOf(database.samplerUrl)).toMatchObject({
    "overdue_rows{check=stuck_orders}": 1,
    "evidence_success{check=stuck_orders}": 1,
  });
  expect(log[0]).toMatchObject({ message: "evidence not read", code: "42703" });
});

it("are accepted by people on call, who are named, set no time of it and change nothing", async () => {
  const oncall = onCall(database);
  const insert = (more = "", value = "") => `insert into ledger_metrics.accepted ("check", id, until, why${more})
    values ('stuck_orders', '1', now() + interval '89 days', 'known'${value})`;
  await oncall.unsafe(`begin read write; ${insert()}; commit`);
  for (const refused of [
    insert(", accepted_at", ", now() + interval '10 days'"),
    insert(", accepted_by", ", 'somebody else'"),
    "update ledger_metrics.accepted set why = 'x'",
    "delete from ledger_metrics.accepted",
    "truncate ledger_metrics.accepted",
    "update ledger_metrics.first_day set until = now()",
  ]) {
    await expect.soft(oncall.unsafe(`begin read write; ${refused}`), refused).rejects.toThrow("permission denied");
    await oncall.unsafe("rollback");
  }
  await run(`set local role veza_ledger_oncall; ${insert()}`); // A person who takes the role stays known.
  const kept = await oncall`select accepted_by, why from ledger_metrics.accepted order by accepted_at`;
  expect(kept.map((row) => Object.values(row))).toEqual([
    ["veza_ledger_oncall", "known"],
    ["postgres", "known"],
  ]);
});

it("lists what is accepted, the soonest to run out first, and in one line what was accepted at once", async () => {
  const scene = sceneOf(await openConnection(database.samplerUrl));
  expect(await lookAtAcceptedRows(scene)).toMatchObject({ mark: "✓", found: "none", more: [] });
  await run(`insert into ledger_metrics.accepted ("check", id, until, why, accepted_at, accepted_by) values
    ('stuck_orders', '1', now() + interval '5 days', 'the bank takes its days', now(), 'alice'),
    ('stuck_orders', '9', now() + interval '5 days', 'the bank takes its days', now(), 'alice'),
    ('stuck_refunds', '4', now() + interval '1 day', 'closed account', now(), 'bob'),
    ('stuck_refunds', '3', now() + interval '1 day', 'a mistake', now() - interval '1 minute', 'bob'),
    ('stuck_refunds', '3', now(), 'taken back', now(), 'bob'),
    ('stuck_orders', '2', now() - interval '23 hours', 'over', now() - interval '1 day', 'bob');
    update ledger_metrics.first_day set until = now() + interval '9 days'`);
  const { mark, found, more = [] } = await lookAtAcceptedRows(scene);
  const time = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC";
  expect([mark, found, ...more]).toEqual([
    "✓",
    ...[
      `what was stuck on the first day, until ${time}`,
      `stuck_refunds 4, until ${time}, by bob: closed account`,
      `stuck_orders 2 rows, until ${time}, by alice: the bank takes its days`,
    ].map((line) => expect.stringMatching(`^${line}$`)),
  ]);
});

it("may end after 90 days of a zone whose clocks go back meanwhile: an hour later", async () => {
  const insert = (days: number) =>
    run(`set local timezone = 'Europe/Paris'; insert into ledger_metrics.accepted ("check", id, until, why, accepted_at)
      values ('stuck_orders', '1', timestamptz '2026-10-20' + interval '${days} days', 'x', '2026-10-20')`);
  await insert(90);
  await expect(insert(91)).rejects.toThrow("90 days at most");
});

describe("that are not read in a tick", () => {
  const accepted = 50;
  beforeEach(async () => {
    await run(insertRows({ id: "stuck_orders" }, accepted, { age: "2 days" }));
    await run(accepting(accepted));
  });
  /** What the alerts see of the orders in a sample, with their count. */
  const ofOrders = (sample: Sample) =>
    evidenceIn(
      sample,
      /^(stuck_orders_pending|(overdue_rows|oldest_open_age_seconds|evidence_success).*=stuck_orders)/,
    );
  const isUnread = { "stuck_orders_pending{}": accepted, "evidence_success{check=stuck_orders}": 0 };
  const fails = () => Promise.reject(Object.assign(new Error("Postgres has stopped"), { code: "ECONNREFUSED" }));
  /** A tick in which Postgres stops at such a message, at the earliest after it has counted orders, and stays away. */
  const tickUntil = async (message: RegExp) => {
    const session = await openConnection(database.samplerUrl);
    let counted: Promise<unknown> | undefined;
    const unsafe = async (text: string) => {
      if (message.test(text)) {
        await counted;
        await session.close();
      }
      const answer = session.sql.unsafe(text);
      counted ??= /overdue,[\s\S]*orders/.test(text) ? answer : undefined;
      return answer;
    };
    const stopping = { ...session, sql: { unsafe } } as unknown as Database;
    return takeSample(lend(stopping, fails), deadlineFor("test", 60_000));
  };
  const unread: Record<string, () => Promise<Sample>> = {
    "since Postgres stops between the counts and them": () => tickUntil(/accepted as materialized/),
    "since Postgres stops after some counts, and cannot be reached again": () => tickUntil(/overdue,[\s\S]*transfers/),
    "since Postgres cannot say in time which they are": async () => {
      const unlock = await lockTable(database, "ledger_metrics.accepted");
      return sampleOf(database.samplerUrl).finally(unlock);
    },
  };

  it.each(Object.entries(unread))("hide the overdue rows, %s", async (_, tick) => {
    expect(ofOrders(await tick())).toEqual(isUnread);
  });

  it("fire nothing by the shipped rules, where the counts are unknown for the next minutes", async () => {
    const read = await sampleOf(database.samplerUrl);
    const [unreadTick] = Object.values(unread);
    const failed = await tickUntil(/as may_use/);
    const minutes = [...Array(10).fill(read), await unreadTick?.(), ...Array(40).fill(failed)].map(ofOrders);
    const names = [...new Set(minutes.flatMap(Object.keys))];
    const seriesOf = (name: string) => {
      const [metric, check] = name.replace("}", "").split("{check=");
      return `veza_ledger_${metric?.replace("{", "")}${check ? `{check="${check}"}` : ""}`;
    };
    const series = names.map((name) => [seriesOf(name), minutes.map((tick) => tick[name] ?? "_").join(" ")]);
    const times = minutes.map((_, minute) => `${minute}m`).join(" ");
    const test = {
      name: "an unread minute",
      series: Object.fromEntries(series),
      alerts: { VezaLedgerStuckOrders: { quiet: times } },
    };
    const folder = await newFolder();
    const tests = unitTestsIn(JSON.stringify({ evaluation_interval: "1m", tests: [test] })); // JSON is YAML, too.
    expect(await unitTest("promtool", folder, await writeTests(folder, tests))).toContain("SUCCESS");
  });
});
