import fc from "fast-check";
import type postgres from "postgres";
import { afterAll, beforeAll, expect, it } from "vitest";
import { checks, type Outcome, runChecks } from "../lib/checks.ts";
import { deadline } from "../lib/deadline.ts";
import { createDatabase, type TestDatabase } from "./helpers/database.ts";

// Random ledgers against a model of the five counts that knows nothing of SQL: each count is the model's, or failed for the
// reason that the model gives. Everything happens in one transaction each, so that now() stands still and a row can be on
// a threshold to the microsecond. TRUTH_SECONDS says for how long, TRUTH_SEED repeats a run.

const seconds = Number(process.env.TRUTH_SECONDS ?? 6);
const seed = Number(process.env.TRUTH_SEED ?? Math.floor(Math.random() * 2 ** 31));

const say = (line: string) => process.stdout.write(`truth: ${line}\n`);

const tables = ["orders", "refunds", "seller_transfers"] as const;
type Table = (typeof tables)[number];
const timeOf = { orders: "created_at", refunds: "created_at", seller_transfers: "updated_at" };
const idOf = { orders: "hyperswitch_payment_id", refunds: "hyperswitch_refund_id", seller_transfers: "id" };

const zones = ["UTC", "Europe/Paris", "America/New_York", "America/St_Johns", "Asia/Kathmandu", "Pacific/Auckland"];
const statuses = ["pending", "permanently_failed", "reversal_pending", "PENDING", "pending ", "paid", "failed"];
const ids = [null, "", " ", "pay_1", "\u00a0", "'; --", "NULL"];

const minute = 60e6;
const hour = 60 * minute;
const zeroTime = Date.UTC(2000, 0, 1) * 1000 - 63_082_281_600e6; // Go's: the first day of year 1. All times are in microseconds.

/** How long ago a row was written: around each threshold, also as another zone would shift it, or at any time. */
const age = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(5, 30).chain((at) => fc.constantFrom(-1e6, -1, 0, 1, 1e6).map((by) => at * minute + by)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(5, 30), fc.integer({ min: -60, max: 60 }), fc.constantFrom(-1, 0, 1))
      .map(([at, quarters, by]) => at * minute + quarters * 15 * minute + by),
  },
  {
    weight: 2,
    arbitrary: fc.integer({ min: -2 * 24 * 60, max: 400 * 24 * 60 }).map((minutes) => minutes * minute + 1),
  },
);
const time = fc.oneof(
  { weight: 9, arbitrary: age.map((ago) => ({ ago })) },
  { weight: 2, arbitrary: fc.constantFrom(null, "infinity" as const, "-infinity" as const, "zero" as const) },
);
const row = fc.record({
  status: fc.oneof(fc.constantFrom("pending", "permanently_failed", "reversal_pending"), fc.constantFrom(...statuses)),
  id: fc.constantFrom(...ids),
  time,
});
type Row = { status: string; id: string | null; time: { ago: number } | "infinity" | "-infinity" | "zero" | null };

const shape = fc.record({
  rows: fc.array(row, { maxLength: 25 }),
  kind: fc.constantFrom("table", "view", "partitioned"),
  timeType: fc.constantFrom(...Array(4).fill("timestamptz"), ...Array(4).fill("timestamp"), "date", "bigint"),
  statusType: fc.constantFrom("text", "varchar(30)", "enum"),
  fault: fc.oneof(
    { weight: 10, arbitrary: fc.constant("none" as const) },
    { weight: 1, arbitrary: fc.constantFrom("policy", "time dropped", "time revoked", "id revoked", "status renamed") },
  ),
});
const ledger = fc.record({
  orders: shape,
  refunds: shape,
  seller_transfers: shape,
  /** Where the rows were written, and where they are read. */
  writer: fc.constantFrom(...zones),
  session: fc.option(fc.constantFrom(...zones)), // The writer's, if it is null.
  hasIndexes: fc.boolean(),
  hasRowSecurity: fc.boolean(),
  floatDigits: fc.constantFrom(-15, 1, 3),
});
type Ledger = typeof ledger extends fc.Arbitrary<infer L> ? L : never;

const formats = new Map(
  zones.map((timeZone) => [
    timeZone,
    new Intl.DateTimeFormat("en-US", {
      ...{ timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" },
      ...{ hour: "numeric", minute: "numeric", second: "numeric" },
    }),
  ]),
);

/** How far the clocks of a zone are ahead of UTC at this time. */
function offsetOf(zone: string, instant: number): number {
  const at = Math.floor(instant / 1e6) * 1_000;
  const parts = formats.get(zone)?.formatToParts(at) ?? [];
  const [month = 0, day = 0, year = 0, h = 0, m = 0, s = 0] = parts
    .filter(({ type }) => type !== "literal")
    .map(({ value }) => Number(value));
  return (Date.UTC(year, month - 1, day, h, m, s) - at) * 1_000;
}

/** The times at which the clocks of a zone show this. There are two when they are set back, and none when forward. */
function instantsOf(zone: string, wall: number): number[] {
  const offsets = new Set([offsetOf(zone, wall - 24 * hour), offsetOf(zone, wall + 24 * hour)]);
  return [...offsets].map((offset) => wall - offset).filter((instant) => offsetOf(zone, instant) === wall - instant);
}

/** A time as Postgres takes it, without a zone. */
function textOf(wall: number): string {
  const micros = ((wall % 1e6) + 1e6) % 1e6;
  const iso = new Date((wall - micros) / 1_000).toISOString();
  return `${iso.slice(0, 19).replace("T", " ")}.${String(micros).padStart(6, "0")}`;
}

/** A row as it is written, and the time that it is read as: null when there is none, undefined when nobody could say. */
function written({ time }: Row, timeType: string, now: number, { writer, session }: Ledger) {
  if (time === null) return { text: null, at: null };
  if (time === "infinity") return { text: "infinity", at: Number.POSITIVE_INFINITY };
  if (time === "-infinity") return { text: "-infinity", at: Number.NEGATIVE_INFINITY };
  if (time === "zero")
    return { text: timeType === "timestamptz" ? `${textOf(zeroTime)}+00` : textOf(zeroTime), at: zeroTime };
  const at = now - time.ago;
  if (timeType === "timestamptz") return { text: `${textOf(at)}+00`, at };
  const wall = at + offsetOf(writer, at);
  const kept = timeType === "date" ? wall - (((wall % (24 * hour)) + 24 * hour) % (24 * hour)) : wall;
  const [read, ...others] = instantsOf(session ?? writer, kept);
  return { text: textOf(kept), at: others.length > 0 ? undefined : read };
}

type Expected = { count: number; oldest: number | undefined } | { failure: RegExp };
type ReadRow = { status: string; id: string | null; at: number | null };

/** What the five checks have to say of a ledger. */
function model(given: Ledger, rows: Record<Table, ReadRow[]>, now: number): Record<string, Expected> {
  const hasId = ({ id }: ReadRow) => id !== null && id !== "";
  const check = (
    table: Table,
    status: string,
    staleAfter: number | undefined,
    matches: (row: ReadRow) => boolean,
  ): Expected => {
    const { kind, timeType, fault, statusType } = given[table];
    const cannotRead = { "time dropped": "42703", "time revoked": "42501" }[fault as string];
    // Of several reasons, whichever Postgres finds first. A view asks with its owner's rights.
    const reasons = [
      ...(fault === "policy" && kind !== "view" ? ["42501", "row-level"] : []),
      ...(fault === "status renamed" && statusType === "enum" ? ["22P02"] : []),
      ...(fault === "id revoked" && table !== "seller_transfers" ? ["42501"] : []),
      ...(staleAfter !== undefined && cannotRead ? [cannotRead] : []),
      ...(staleAfter !== undefined && timeType === "bigint" ? ["42883"] : []),
      ...(staleAfter !== undefined && timeType === "date" ? ["is a date"] : []),
    ];
    if (reasons.length > 0) return { failure: new RegExp(reasons.join("|")) };
    const counted = rows[table].filter(
      (row) =>
        fault !== "status renamed" &&
        row.status === status &&
        matches(row) &&
        (staleAfter === undefined || (row.at !== null && row.at < now - staleAfter)),
    );
    const times = counted.map(({ at }) => at).filter((at) => at !== null && Number.isFinite(at)) as number[];
    const oldest = cannotRead || timeType === "bigint" || times.length === 0 ? undefined : Math.min(...times);
    return { count: counted.length, oldest: counted.length === 0 ? 0 : oldest };
  };
  return {
    stuck_orders: check("orders", "pending", 30 * minute, hasId),
    stuck_refunds: check("refunds", "pending", 30 * minute, hasId),
    failed_transfers: check("seller_transfers", "permanently_failed", undefined, () => true),
    orphan_refunds: check("refunds", "pending", 5 * minute, (row) => !hasId(row)),
    pending_reversals: check("seller_transfers", "reversal_pending", 30 * minute, () => true),
  };
}

let database: TestDatabase;
let session: postgres.ReservedSql;
beforeAll(async () => {
  database = await createDatabase();
  session = await database.admin.reserve();
});
afterAll(async () => {
  session.release();
  await database.admin.end();
});

/** Builds the ledger, with the rows as the writer's zone has them. Resolves to those rows as they have to be read. */
async function build(given: Ledger, now: number): Promise<Record<Table, ReadRow[]>> {
  const read: Record<Table, ReadRow[]> = { orders: [], refunds: [], seller_transfers: [] };
  const statements: string[] = [];
  const run = (sql: string) => statements.push(sql);
  run(`create schema truth; grant usage on schema truth to veza_ledger_sampler; set local search_path = truth`);
  for (const table of tables) {
    const { rows, kind, timeType, fault } = given[table];
    const isEnum = given[table].statusType === "enum";
    const statusType = isEnum ? `${table}_status` : given[table].statusType;
    if (isEnum) run(`create type ${statusType} as enum (${statuses.map((status) => `'${status}'`).join(", ")})`);
    const [time, id] = [timeOf[table], idOf[table]];
    const base = kind === "view" ? `real_${table}` : table;
    run(`create table ${base} (n int, status ${statusType}, ${id} text, ${time} ${timeType})
      ${kind === "partitioned" ? "partition by hash (n)" : ""}`);
    if (kind === "partitioned")
      run(`create table ${table}_0 partition of ${table} for values with (modulus 2, remainder 0);
        create table ${table}_1 partition of ${table} for values with (modulus 2, remainder 1)`);
    const known = rows
      .map((row) => ({ row, ...written(row, timeType, now, given) }))
      .filter(({ at }) => at !== undefined);
    read[table] = known.map(({ row, at }) => ({ status: row.status, id: row.id, at: at as number | null }));
    const values = JSON.stringify(known.map(({ row, text }, n) => ({ n, status: row.status, id: row.id, text })));
    run(`insert into ${base} select n, status::${statusType}, id, ${timeType === "bigint" ? "0" : `text::${timeType}`}
      from jsonb_to_recordset(convert_from(decode('${Buffer.from(values).toString("base64")}', 'base64'), 'utf8')::jsonb)
        as row (n int, status text, id text, text text)`);
    if (given.hasIndexes)
      run(`create index on ${base} (${time}) where status = 'pending' and ${id} <> '';
        create index on ${base} (${time}) where status = 'pending' and (${id} is null or ${id} = '');
        create index on ${base} (${time}) where status = 'permanently_failed';
        create index on ${base} (${time}) where status = 'reversal_pending'`);
    if (fault === "time dropped") run(`alter table ${base} drop ${time} cascade`);
    if (fault === "policy")
      run(`alter table ${base} enable row level security; create policy few on ${base} using (n = 0)`);
    if (fault === "status renamed") {
      for (const status of isEnum ? statuses : [])
        run(`alter type ${statusType} rename value '${status}' to 'once ${status}'`);
      if (!isEnum) run(`update ${base} set status = 'once ' || status`);
    }
    if (kind === "view") run(`create view ${table} as select * from ${base}`);
    const columns = ["status", ...(fault === "id revoked" ? [] : [id]), ...(/^time/.test(fault) ? [] : [time])];
    run(`grant select (${columns.join(", ")}) on ${table} to veza_ledger_sampler`);
  }
  await session.unsafe(statements.join(";"));
  return read;
}

/** Runs the checks on the transaction's session, each behind a savepoint, since one that fails would end it. */
function sample(): Promise<Outcome[]> {
  let turn: Promise<unknown> = Promise.resolve();
  const unsafe = (sql: string) => {
    const answer = turn.then(async () => {
      await session.unsafe("savepoint check_begins");
      try {
        return await session.unsafe(sql);
      } finally {
        await session.unsafe("rollback to check_begins");
      }
    });
    turn = answer.catch(() => {});
    return answer;
  };
  return runChecks(
    Promise.resolve({ sql: { unsafe }, lost: new AbortController().signal } as never),
    deadline("Postgres", 60_000),
  );
}

it("counts what a model counts, on random ledgers", { timeout: 120_000 + seconds * 2_000 }, async () => {
  const figures = { ledgers: 0, gauges: 0, "failed by rule": 0, "above 0": 0 };
  const property = fc.asyncProperty(ledger, async (given) => {
    await session.unsafe("begin");
    try {
      const [clock] = await session`select (extract(epoch from now())::numeric * 1000000)::bigint::text as now`;
      const now = Number(clock?.now);
      const expected = model(given, await build(given, now), now);
      await session.unsafe(`set local role veza_ledger_sampler; set local timezone = '${given.session ?? given.writer}';
        set local row_security = ${given.hasRowSecurity ? "on" : "off"}; set local extra_float_digits = ${given.floatDigits};
        set local enable_seqscan = ${given.hasIndexes ? "off" : "on"}`);
      const outcomes = await sample();
      expect(outcomes).toHaveLength(checks.length);
      for (const outcome of outcomes) {
        const wanted = expected[outcome.check.id];
        if (!wanted) throw new Error("a check without a model");
        const { code, message } = ("error" in outcome ? outcome.error : {}) as { code?: string; message?: string };
        if ("failure" in wanted) {
          expect(`${code} ${message}`, outcome.check.id).toMatch(wanted.failure);
          figures["failed by rule"] += 1;
        } else {
          if ("error" in outcome) throw outcome.error;
          expect(outcome.count, outcome.check.id).toBe(wanted.count);
          // Before there were zones, clocks differ by more than they do today: only the day is certain then.
          const tolerance = (wanted.oldest ?? 0) < 0 ? 86_400 : 2e-6;
          if (wanted.oldest === undefined) expect(outcome.oldestSeconds, outcome.check.id).toBeUndefined();
          else
            expect(Math.abs(Number(outcome.oldestSeconds) - wanted.oldest / 1e6), outcome.check.id).toBeLessThan(
              tolerance,
            );
          if (wanted.count > 0) figures["above 0"] += 1;
        }
        figures.gauges += 1;
      }
      figures.ledgers += 1;
    } finally {
      await session.unsafe("rollback");
    }
  });
  say(`TRUTH_SEED=${seed} TRUTH_SECONDS=${seconds}`);
  await fc.assert(property, { seed, numRuns: 1e7, interruptAfterTimeLimit: seconds * 1_000 });
  say(`${JSON.stringify(figures)}, no difference`);
  expect(figures["above 0"]).toBeGreaterThan(figures.gauges / 10);
});
