// The functions for people on call: they list what the alerts count, and accept no other row.

import { readFile } from "node:fs/promises";
import fc from "fast-check";
import type postgres from "postgres";
import { describe, expect, it, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { measureOpenRows, type OpenRows } from "../../lib/counts/accepted.ts";
import { type Check, checks } from "../../lib/counts/checks.ts";
import { runChecks } from "../../lib/counts/counting.ts";
import { minutesIn } from "../../lib/counts/interval.ts";
import { inSchema } from "../../lib/postgres/question.ts";
import { databaseForFile, databasePerTest, onCall } from "../helpers/database.ts";
import { insertRows, justPast, modelOf, providerIds } from "../helpers/models.ts";
import { evidenceOf } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
const list = (id: string, columns = "*") => `select ${columns} from ledger_metrics.${id}()`;

const overdueOf = async (id: string) => (await evidenceOf(database.samplerUrl))[`overdue_rows{check=${id}}`];
const firingOf = async (sql: postgres.Sql, id: string) =>
  (await sql.unsafe(list(id, "count(*) filter (where fires)::int as firing")))[0]?.firing;

it("list what fires first, by age, then what does not, with what finds it", async () => {
  const check = { id: "stuck_orders" } as const;
  const ages = ["2 days", "4 days", "3 days", "5 days", justPast("stuckAfter", check.id)];
  await run(`${ages.map((age) => insertRows(check, 1, { age })).join("")}
    insert into ledger_metrics.accepted ("check", id, until, why)
      values ('stuck_orders', '4', now() + interval '1 day', 'known')`);
  const rows = await onCall(database).unsafe(list(check.id));
  expect(rows.map((row) => [row.id, row.fires, row.accepted_because, row.hyperswitch_payment_id])).toEqual([
    ["2", true, null, "id_1"],
    ["3", true, null, "id_1"],
    ["1", true, null, "id_1"],
    ["4", false, "known", "id_1"],
    ["5", false, null, "id_1"],
  ]);
});

it("list rows without a time first; of a row of the first day that is accepted, the later end and its reason", async () => {
  await run(`alter table seller_transfers alter updated_at drop not null;
    ${insertRows({ id: "failed_transfers" }, 3, { age: "2 days" })} ${insertRows({ id: "failed_transfers" }, 1)}
    update seller_transfers set updated_at = null where id = 3;
    update ledger_metrics.first_day set began_at = now() - interval '1 day', until = now() + interval '9 days';
    insert into ledger_metrics.accepted ("check", id, until, why) values
      ('failed_transfers', '1', now() + interval '1 day', 'by its id'),
      ('failed_transfers', '4', now() + interval '1 day', 'by its id')`);
  const rows = await onCall(database).unsafe(
    list("failed_transfers", "id, extract(day from accepted_until + interval '1 hour' - now())::int, accepted_because"),
  );
  expect(rows.map((row) => Object.values(row))).toEqual([
    ["3", null, null],
    ["1", 9, "by its id"],
    ["2", 9, "was stuck on the first day"],
    ["4", 1, "by its id"],
  ]);
});

it("list the orphan refunds that were failed in the last 14 days, with when", async () => {
  await run(`insert into refunds (status, hyperswitch_refund_id, created_at, updated_at)
    select status, provider, now() - interval '20 days', now() - age
    from (values ('failed', null, interval '13 days'), ('failed', '', '2 hours'), ('failed', 'r', '1 hour'),
      ('failed', null, '15 days'), ('pending', null, '1 hour')) as row (status, provider, age)`);
  const rows = await onCall(database)`select id, since < now() - interval '19 days' as is_old,
    round(extract(epoch from now() - failed_at) / 3600)::int as hours from ledger_metrics.failed_orphan_refunds()`;
  expect(rows).toEqual([
    { id: "2", is_old: true, hours: 2 },
    { id: "1", is_old: true, hours: 13 * 24 },
  ]);
});

it("list no orphan refund whose row has what its page writes into it: it waits as any other refund", async () => {
  const page = await readFile("docs/runbook/VezaLedgerOrphanRefunds.md", "utf8");
  const [, idAt, status, statusAt] =
    /into\s+`(\w+)`\s+of\s+its\s+row,\s+and\s+`(\w+)`\s+into\s+`(\w+)`/.exec(page) ?? [];
  await run(`${insertRows({ id: "orphan_refunds" }, 1)} ${insertRows({ id: "orphan_refunds" }, 1, { status: "failed" })}
    update refunds set updated_at = now()`);
  const sql = onCall(database);
  const listed = async () => [
    await overdueOf("orphan_refunds"),
    (await sql.unsafe(list("failed_orphan_refunds"))).length,
    await firingOf(sql, "stuck_refunds"),
  ];
  expect(await listed()).toEqual([1, 1, 0]);
  await run(`update refunds set ${idAt} = 'ref_found', ${statusAt} = '${status}'`);
  expect(await listed()).toEqual([0, 0, 2]);
});

describe("accept", () => {
  const accept = (check: string, ids: string, why = "'known'", until = "now() + interval '1 day'") =>
    `begin read write; select * from ledger_metrics.accept(${check}, ${ids}, ${why}, ${until}); commit`;
  const noRow = (id: string) => `Nothing is accepted: stuck_orders has no row, or several, with the id ${id}.`;

  const refused = [
    ["an id that is not there", accept("'stuck_orders'", "'{1,4711}'"), noRow("4711")],
    ["an order that is paid", accept("'stuck_orders'", "'{2}'"), noRow("2")],
    ["several ids as one", accept("'stuck_orders'", "array['1 3']"), noRow("1 3")],
    ["an id that is null", accept("'stuck_orders'", "'{1,null}'"), noRow("null")],
    ["an empty list", accept("'stuck_orders'", "'{}'"), "Nothing is accepted: the list of ids is empty."],
    ["no list", accept("'stuck_orders'", "null"), "Nothing is accepted: the list of ids is empty."],
    ["an unknown check", accept("'amounts'", "'{1}'"), "Nothing is accepted: there is no check amounts."],
    ["a check that is null", accept("null", "'{1}'"), "Nothing is accepted: there is no check null."],
    ["an empty reason", accept("'stuck_orders'", "'{1}'", "' \t'"), "why is empty: say why"],
    ["no reason", accept("'stuck_orders'", "'{1}'", "null"), 'null value in column "why"'],
    ["no time", accept("'stuck_orders'", "'{1}'", "'x'", "null"), "Nothing is accepted: what is accepted has no row"],
    ["91 days", accept("'stuck_orders'", "'{1}'", "'x'", "now() + interval '91 days'"), "90 days at most: until is"],
    [
      "a transaction that only reads",
      accept("'stuck_orders'", "'{1}'").replace("read write", "read only"),
      "cannot execute INSERT in a read-only transaction",
    ],
  ] as const;

  it("refuses what is wrong with a sentence, and writes nothing", async () => {
    await run(`${insertRows({ id: "stuck_orders" }, 3)} update orders set status = 'paid' where id = 2`);
    const sql = onCall(database);
    for (const [what, statement, sentence] of refused) {
      await expect.soft(sql.unsafe(statement), what).rejects.toThrow(sentence);
      await sql.unsafe("rollback");
    }
    expect(await database.admin`select * from ledger_metrics.accepted`).toEqual([]);
  });

  it("takes a backlog by its list, and says who has accepted what", async () => {
    await run(insertRows({ id: "stuck_orders" }, 30, { age: "400 days" }));
    const sql = onCall(database);
    const firing = "array(select id from ledger_metrics.stuck_orders() where fires)";
    const answers = await sql.unsafe(accept("'stuck_orders'", firing, "'from before'", "now() + interval '90 days'"));
    const accepted = { accepted_because: "from before", accepted_by: "veza_ledger_oncall" };
    const ids = Array.from({ length: 30 }, (_, index) => String(index + 1));
    const rows = (answers as unknown as postgres.Row[][])[1]?.toSorted((a, b) => a.accepted_id - b.accepted_id);
    expect(rows).toMatchObject(ids.map((accepted_id) => ({ accepted_id, ...accepted })));
    expect([await overdueOf("stuck_orders"), await firingOf(sql, "stuck_orders")]).toEqual([0, 0]);
  });

  it("refuses an id of several rows", async () => {
    await run(`${insertRows({ id: "stuck_orders" }, 2)}
      alter table orders alter id drop identity, drop constraint orders_pkey; update orders set id = 7`);
    await expect(onCall(database).unsafe(accept("'stuck_orders'", "'{7}'"))).rejects.toThrow(noRow("7"));
  });

  it("takes an acceptance back, also of a row that no longer counts or in one transaction, and takes an id once", async () => {
    await run(insertRows({ id: "stuck_orders" }, 2));
    const sql = onCall(database);
    const back = (ids: string) => accept("'stuck_orders'", ids, "'taken back'", "now()");
    await sql.unsafe(accept("'stuck_orders'", "'{1,2,1}'"));
    expect(await overdueOf("stuck_orders")).toBe(0);
    await run("update orders set status = 'paid' where id = 1");
    await sql.unsafe(back("'{1,2}'"));
    expect([await overdueOf("stuck_orders"), await firingOf(sql, "stuck_orders")]).toEqual([1, 1]);
    const again = accept("'stuck_orders'", "'{2}'").replace("commit", "");
    await sql.unsafe(again + back("'{2}'").replace("begin read write;", ""));
    expect(await overdueOf("stuck_orders")).toBe(1);
    expect(await database.admin`select id from ledger_metrics.accepted order by accepted_at`).toHaveLength(6);
  });

  it.each(["failed_transfers", "pending_reversals"] as const)(
    "takes one of %s as it is then: once it is retried and ends there again, it fires again",
    async (id) => {
      await run(insertRows({ id }, 2, { age: "3 days" }));
      const sql = onCall(database);
      const seen = async () => [await overdueOf(id), await firingOf(sql, id)];
      await sql.unsafe(accept(`'${id}'`, "'{1,2}'", "'the bank knows'", "now() + interval '80 days'"));
      expect(await seen()).toEqual([0, 0]);
      // Instead of a wait: it was accepted 2 days ago.
      await run("update ledger_metrics.accepted set accepted_at = now() - interval '2 days'");
      expect(await seen()).toEqual([0, 0]);
      const { status } = modelOf({ id });
      await run(`update seller_transfers set status = 'pending', updated_at = now() - interval '1 day' where id = 1`);
      expect(await seen()).toEqual([0, 0]);
      await run(`update seller_transfers set status = '${status}' where id = 1`);
      expect(await seen()).toEqual([1, 1]);
      await sql.unsafe(accept(`'${id}'`, "'{1}'"));
      expect(await seen()).toEqual([0, 0]);
      await run("update seller_transfers set updated_at = now() + interval '1 hour' where id = 2");
      expect(await seen()).toEqual([0, 0]); // A clock that is ahead tells of no change, and a reversal waits for longer.
    },
  );

  it("takes nothing back of a row that is not accepted, or not of this check", async () => {
    await run(`${insertRows({ id: "stuck_orders" }, 2)} ${insertRows({ id: "orphan_refunds" }, 1)}`);
    const sql = onCall(database);
    await sql.unsafe(accept("'stuck_orders'", "'{1}'"));
    for (const [check, id] of [
      ["stuck_orders", 2],
      ["orphan_refunds", 1],
      ["stuck_orders", 3],
    ]) {
      const sentence = `Nothing is accepted: what is accepted has no row, or several, with the id ${id}.`;
      await expect.soft(sql.unsafe(accept(`'${check}'`, `'{${id}}'`, "'x'", "now()"))).rejects.toThrow(sentence);
      await sql.unsafe("rollback");
    }
    expect(await overdueOf("stuck_orders")).toBe(1);
  });
});

it("stop no migration, and one that lacks a column breaks no other", async () => {
  const sql = onCall(database);
  await run(
    "alter table orders rename hyperswitch_payment_id to payment; alter table refunds drop hyperswitch_refund_id",
  );
  await expect(sql.unsafe(list("stuck_orders"))).rejects.toThrow('column "hyperswitch_payment_id" does not exist');
  await expect(sql.unsafe(list("orphan_refunds"))).rejects.toThrow('column "hyperswitch_refund_id" does not exist');
  for (const id of ["failed_transfers", "pending_reversals"]) expect(await sql.unsafe(list(id))).toEqual([]);
});

it("refuse to leave out rows that row-level security hides", async () => {
  await run(`${insertRows({ id: "stuck_orders" }, 1)} alter table orders enable row level security;
    create policy none on orders using (false)`);
  const sql = onCall(database);
  await sql`set row_security = on`;
  await expect(sql.unsafe(list("stuck_orders"))).rejects.toThrow("row-level security policy");
});

it("read where the sampler does, in its zone, whatever the caller's are", async () => {
  await run(`create schema veza; ${tables.map((table) => `alter table ${table} set schema veza;`).join("")}
    alter table veza.orders alter created_at drop default;
    alter table veza.orders alter created_at type timestamp using created_at at time zone 'UTC'`);
  await runSqlFiles(database.adminUrl, setUp, "veza", "Asia/Kolkata");
  const age = justPast("overdueAfter", "stuck_orders");
  await run(`insert into veza.orders (status, hyperswitch_payment_id, created_at)
    values ('pending', 'p', (now() - interval '${age}') at time zone 'Asia/Kolkata')`);
  const sql = onCall(database);
  await sql`set timezone = 'America/New_York'`;
  await sql`set search_path = public`;
  const [row] = await sql`select fires, round(extract(epoch from now() - since) / 60)::int as minutes
    from ledger_metrics.stuck_orders()`;
  expect(row).toEqual({ fires: true, minutes: minutesIn(age) });
});

it("are made anew by the next run of the files, also where their columns have changed", async () => {
  await run(`drop function ledger_metrics.stuck_orders();
    create function ledger_metrics.stuck_orders() returns table (id text) language sql as 'select null::text'`);
  await runSqlFiles(database.adminUrl, setUp);
  await run(insertRows({ id: "stuck_orders" }, 1));
  expect(await onCall(database).unsafe(list("stuck_orders"))).toMatchObject([{ id: "1", fires: true }]);
});

// Random ledgers and acceptances against a model, without SQL, of what is accepted and what fires. Each ledger has one
// transaction, so that now() stands still. LISTS_SEED repeats a run. Times are in microseconds before now.
const minute = 60e6;
const models = checks.map(modelOf);
const thresholds = models
  .flatMap(({ stuckAfterMinutes = 0, overdueAfterMinutes }) => [stuckAfterMinutes, overdueAfterMinutes])
  .map((minutes) => minutes * minute);
const aMoment = fc.constantFrom(-1, 0, 1);
const ago = fc.oneof(
  fc.tuple(fc.constantFrom(...thresholds), aMoment).map(([at, more]) => at + more),
  fc.integer({ min: 0, max: 100 * 86_400 }).map((seconds) => seconds * 1e6),
);
const oneInTen = fc.integer({ min: 0, max: 9 }).map((n) => n === 0);
const row = fc.record({
  isTwin: oneInTen,
  isNameless: oneInTen,
  ago,
  /** How long before the first day, instead of `ago`. */
  beforeFirstDay: fc.option(fc.tuple(fc.constantFrom(0, ...thresholds), aMoment), { freq: 3 }),
  isTimeless: oneInTen,
  isEpoch: oneInTen,
  provider: fc.constantFrom("p", "", null),
  status: fc.constantFrom(...models.map(({ status }) => status), "paid"),
});
const acceptance = fc.record({
  check: fc.constantFrom(...checks.map(({ id }) => id)),
  id: fc.integer({ min: 1, max: 6 }),
  /** Its id in other letters, which is another text. */
  isMisspelt: oneInTen,
  acceptedAgo: fc.integer({ min: 0, max: 100 }),
  inDays: fc.constantFrom(1, 9, 2, 0, -1),
});
const ledger = fc.record({
  began: ago,
  isFirstDay: fc.boolean(),
  rows: fc.array(row, { minLength: 5, maxLength: 20 }),
  acceptances: fc.array(acceptance, { maxLength: 20 }),
  idType: fc.constantFrom("bigint", "integer", "uuid", "text", "varchar(40)"),
  timeType: fc.constantFrom("timestamptz", "timestamp"),
  zone: fc.constantFrom("UTC", "Asia/Kolkata"),
});
type Ledger = typeof ledger extends fc.Arbitrary<infer L> ? L : never;

const textOfId = ({ idType }: Ledger, n: number) => {
  if (idType === "uuid") return `a0eebc99-9c0b-4ef8-bb6d-${String(n).padStart(12, "0")}`;
  return idType === "bigint" || idType === "integer" ? String(n) : `Order ${n}`;
};

/** The rows of each table. Their ids are not unique, as in a view of two tables. `ago` is null without a time. */
const rowsOf = (given: Ledger, now: number) =>
  given.rows.map(({ beforeFirstDay, ...row }, index) => {
    const written = beforeFirstDay ? given.began + beforeFirstDay[0] + beforeFirstDay[1] : row.ago;
    const id = row.isNameless ? null : textOfId(given, row.isTwin ? index : index + 1);
    return { ...row, id, ago: row.isTimeless ? null : row.isEpoch ? now : written };
  });
/** The acceptances, the newest first. */
const acceptancesOf = (given: Ledger) =>
  given.acceptances
    .map(({ id, isMisspelt, acceptedAgo, ...accepted }, index) => {
      const text = textOfId(given, id);
      const misspelt = given.idType === "uuid" ? text.toUpperCase() : text.toLowerCase();
      return { ...accepted, id: isMisspelt ? misspelt : text, ago: acceptedAgo * minute + index };
    })
    .sort((a, b) => a.ago - b.ago);

/** SQL: this ledger, at this time in microseconds. */
function made(given: Ledger, now: number): string {
  const { idType, timeType, zone, began, isFirstDay } = given;
  const text = (value: string | null) => (value === null ? "null" : `'${value}'`);
  const before = (micros: number) => `now() - ${micros} * interval '1 microsecond'`;
  const tables = Object.entries(providerIds).map(([table, provider]) => {
    const values = rowsOf(given, now).map(({ id, status, ago, ...row }) => {
      const time =
        ago === null ? "null" : `(${before(ago)}) ${timeType === "timestamp" ? `at time zone '${zone}'` : ""}`;
      return `(${text(id)}, '${status}', ${provider ? `${text(row.provider)}, ` : ""}${time}, ${time})`;
    });
    return `drop table ${table}; create table ${table} (id ${idType}, status text,
        ${provider ? `${provider} text, ` : ""} created_at ${timeType}, updated_at ${timeType});
      insert into ${table} values ${values};`;
  });
  const accepted = acceptancesOf(given).map(
    ({ check, id, ago, inDays }) => `insert into ledger_metrics.accepted ("check", id, until, why, accepted_at)
      values ('${check}', '${id}', now() + interval '${inDays} days', 'x', ${before(ago)});`,
  );
  return `${tables.join("")} ${accepted.join("")}
    update ledger_metrics.first_day set began_at = ${before(began)}, until = now() ${isFirstDay ? "+ interval '9 days'" : ""}`;
}

/** What a check has to find in a ledger: the ids of its rows, those that are accepted, and those that fire. */
function expectedOf({ id: check }: Check, given: Ledger, now: number) {
  const { status, hasProviderId, time, stuckAfterMinutes = 0, overdueAfterMinutes } = modelOf({ id: check });
  const isOlder = (ago: number | null, minutes: number) => minutes === 0 || (ago !== null && ago > minutes * minute);
  const counted = rowsOf(given, now).filter(
    (row) =>
      row.status === status &&
      (hasProviderId === undefined || Boolean(row.provider) === hasProviderId) &&
      isOlder(row.ago, stuckAfterMinutes),
  );
  const isAccepted = ({ id, ago }: (typeof counted)[number]) => {
    const newest = acceptancesOf(given).find((accepted) => accepted.check === check && accepted.id === id);
    const isOfFirstDay = given.isFirstDay && ago !== null && ago >= given.began + stuckAfterMinutes * minute;
    // A transfer that was written again since then has failed again.
    const hasChanged = time === "updated_at" && newest && ago !== null && ago >= 0 && ago < newest.ago;
    return isOfFirstDay || (newest !== undefined && newest.inDays > 0 && !hasChanged);
  };
  const open = counted.filter((row) => !isAccepted(row));
  const times = open.flatMap(({ ago }) => (ago === null ? [] : Math.max(1, (now - ago) / 1e6)));
  const firing = open.filter(({ ago }) => isOlder(ago, overdueAfterMinutes));
  const ids = (rows: typeof counted) => rows.map(({ id }) => String(id)).sort();
  const oldestSeconds = open.length === 0 ? 0 : times.length === 0 ? undefined : Math.min(...times);
  return { counted: ids(counted), accepted: ids(counted.filter(isAccepted)), firing: ids(firing), oldestSeconds };
}

const random = await databaseForFile();

it("list and fire what a model does, as the gauge does, in random ledgers", { timeout: 300_000 }, async () => {
  const session = await random.admin.reserve();
  onTestFinished(() => session.release());
  const seen = { firing: 0, accepted: 0 };
  const seed = Number(process.env.LISTS_SEED ?? Math.floor(Math.random() * 2 ** 31));
  const property = fc.asyncProperty(ledger, async (given) => {
    await session.unsafe("begin");
    try {
      // In whole numbers: before PostgreSQL 14, extract() yields a float of 15 digits.
      const [clock] = await session`select (extract(epoch from date_trunc('second', now()))::bigint * 1000000
        + extract(microseconds from now())::bigint % 1000000)::text as now`;
      const now = Number(clock?.now);
      const zone = `set timezone = '${given.zone}'`;
      await session.unsafe(`${made(given, now)};
        ${checks.map(({ id }) => `alter function ledger_metrics.${id}() ${zone};`).join("")}
        set local search_path = pg_catalog, public; ${zone.replace("set", "set local")}`);
      const ask = async (question: string) =>
        session.unsafe(inSchema(question, { schema: "public", timeZone: given.zone }));
      const outcomes = await runChecks(ask);
      const open = await measureOpenRows(ask);
      for (const outcome of outcomes) {
        if ("error" in outcome) throw outcome.error;
        const { id } = outcome.check;
        const wanted = expectedOf(outcome.check, given, now);
        const listed = await session.unsafe(list(id));
        const ids = (rows: postgres.Row[]) => rows.map((row) => String(row.id)).sort();
        expect(ids(listed), id).toEqual(wanted.counted);
        expect(ids(listed.filter(({ fires }) => fires)), id).toEqual(wanted.firing);
        expect(ids(listed.filter(({ accepted_until }) => accepted_until !== null)), id).toEqual(wanted.accepted);
        const { rows = outcome.count, overdue, oldestSeconds } = { ...outcome, ...(open[id] as OpenRows) };
        expect([outcome.count - rows, overdue], id).toEqual([wanted.accepted.length, wanted.firing.length]);
        if (wanted.oldestSeconds === undefined) expect(oldestSeconds, id).toBeUndefined();
        else expect(oldestSeconds, id).toBeCloseTo(wanted.oldestSeconds, 4);
        seen.firing += wanted.firing.length;
        seen.accepted += wanted.accepted.length;
      }
    } finally {
      await session.unsafe("rollback");
    }
  });
  await fc.assert(property, { numRuns: 200, seed });
  expect(seen.firing).toBeGreaterThan(50);
  expect(seen.accepted).toBeGreaterThan(50);
});
