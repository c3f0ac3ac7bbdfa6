// Random ledgers against the models of the checks: each count is the model's, or fails for the reason that the model
// gives; and so is what tells a blind check. Each ledger has one transaction, so that now() stands still and a row can be
// on a threshold to the microsecond. TRUTH_SECONDS makes a longer run, TRUTH_SEED repeats a run.

import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { blindness, blindnessMetric } from "../../lib/counts/blindness.ts";
import { checks, stateOf, type Table } from "../../lib/counts/checks.ts";
import { type Outcome, runChecks } from "../../lib/counts/counting.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import type { Series } from "../../lib/gateway/exposition.ts";
import { askOn, measure } from "../../lib/postgres/question.ts";
import { createDatabase } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { type Model, modelOf, providerIds } from "../helpers/models.ts";

const seconds = Number(process.env.TRUTH_SECONDS ?? 0);
/** So many ledgers, on a slow machine too, or as many as there is time for. */
const limit = seconds ? { numRuns: 1e7, interruptAfterTimeLimit: seconds * 1_000 } : { numRuns: 200 };
const seed = Number(process.env.TRUTH_SEED ?? Math.floor(Math.random() * 2 ** 31));

const say = (line: string) => process.stdout.write(`truth: ${line}\n`);

const models = checks.map((check) => ({ ...modelOf(check), id: check.id, waitsForWebhook: check.waitsForWebhook }));
const tables = Object.keys(providerIds) as Table[];
/** An object with this value for each table. */
const ofTables = <T>(get: () => T) => Object.fromEntries(tables.map((table) => [table, get()])) as Record<Table, T>;
const unique = <T>(values: T[]): T[] => [...new Set(values)];
const timesOf = (table: Table) => unique(models.filter((model) => model.table === table).map(({ time }) => time));
const idOf = (table: Table) => providerIds[table] ?? "id";
const watched = unique(models.map(({ status }) => status));
const thresholds = unique(
  models.flatMap(({ stuckAfterMinutes = 0, overdueAfterMinutes }) => [stuckAfterMinutes, overdueAfterMinutes]),
)
  .filter((minutes) => minutes > 0)
  .concat(25, -5); // Nearly stuck, and ahead.

const zones = ["UTC", "Europe/Paris", "America/New_York", "America/St_Johns", "Asia/Kathmandu", "Pacific/Auckland"];
const statuses = unique([...watched, "PENDING", "pending ", "paid", "failed"]);
const noTimes = ["bigint", "text"];
const ids = [null, "", " ", "pay_1", "\u00a0", "'; --", "NULL"];

const minute = 60e6;
const hour = 60 * minute;
/** Go's: the first day of year 1. All times are in microseconds. */
const zeroTime = Date.UTC(2000, 0, 1) * 1000 - 63_082_281_600e6;

const threshold = fc.constantFrom(...thresholds).map((minutes) => minutes * minute);
const aMoment = fc.constantFrom(-1e6, -1, 0, 1, 1e6);
const aZone = fc.integer({ min: -60, max: 60 }).map((quarters) => quarters * 15 * minute);
const anyAge = fc.integer({ min: -2 * 24 * 60, max: 400 * 24 * 60 }).map((minutes) => minutes * minute + 1);
/** How long ago a row was written: around each threshold, also as another zone would shift it, or at any time. */
const age = fc
  .oneof(
    { weight: 4, arbitrary: fc.tuple(threshold, aMoment) },
    { weight: 2, arbitrary: fc.tuple(threshold, aMoment, aZone) },
    { weight: 2, arbitrary: fc.tuple(anyAge) },
  )
  .map((parts) => parts.reduce((sum: number, part) => sum + part, 0));
const time = fc.oneof(
  { weight: 9, arbitrary: age.map((ago) => ({ ago })) },
  { weight: 2, arbitrary: fc.constantFrom(null, "infinity" as const, "-infinity" as const, "zero" as const) },
);
const row = fc.record({
  status: fc.oneof(fc.constantFrom(...watched), fc.constantFrom(...statuses)),
  id: fc.constantFrom(...ids),
  created_at: time,
  updated_at: time,
});
type Time = { ago: number } | "infinity" | "-infinity" | "zero" | null;

const shape = fc.record({
  rows: fc.array(row, { maxLength: 25 }),
  kind: fc.constantFrom("table", "view", "partitioned"),
  // The types `day` and `state` are the ledger's own.
  timeType: fc.constantFrom(...Array(5).fill("timestamptz"), ...Array(5).fill("timestamp"), "date", "day", ...noTimes),
  statusType: fc.constantFrom("text", "varchar(30)", "state"),
  idType: fc.constantFrom(...Array(20).fill("text"), "uuid", "bigint"),
  fault: fc.oneof(
    { weight: 10, arbitrary: fc.constant("none" as const) },
    { weight: 1, arbitrary: fc.constantFrom("policy", "time dropped", "time revoked", "id revoked", "status renamed") },
  ),
});
const ledger = fc.record({
  ...ofTables(() => shape),
  /** Where the rows were written, and where they are read. */
  writer: fc.constantFrom(...zones),
  hasIndexes: fc.boolean(),
  hasRowSecurity: fc.boolean(),
  floatDigits: fc.constantFrom(-15, 1, 3),
});
type Ledger = typeof ledger extends fc.Arbitrary<infer L> ? L : never;

/** Clocks of each zone, in Swedish, which writes a time as Postgres does. */
const clocks = new Map(
  zones.map((timeZone) => [
    timeZone,
    new Intl.DateTimeFormat("sv", { timeZone, dateStyle: "short", timeStyle: "medium" }),
  ]),
);

/** How far the clocks of a zone are ahead of UTC at this time. */
function offsetOf(zone: string, instant: number): number {
  const at = Math.floor(instant / 1e6) * 1_000;
  return (Date.parse(`${clocks.get(zone)?.format(at)}Z`) - at) * 1_000;
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

const isDate = (timeType: string) => timeType === "date" || timeType === "day";

/** A time as it is written, and as it is read: null when there is no time, undefined when nobody could say. */
function written(time: Time, timeType: string, now: number, { writer }: Ledger) {
  if (time === null) return { text: null, at: null };
  if (time === "infinity") return { text: "infinity", at: Number.POSITIVE_INFINITY };
  if (time === "-infinity") return { text: "-infinity", at: Number.NEGATIVE_INFINITY };
  if (time === "zero")
    return { text: timeType === "timestamptz" ? `${textOf(zeroTime)}+00` : textOf(zeroTime), at: zeroTime };
  const at = now - time.ago;
  if (timeType === "timestamptz") return { text: `${textOf(at)}+00`, at };
  const wall = at + offsetOf(writer, at);
  const kept = isDate(timeType) ? wall - (((wall % (24 * hour)) + 24 * hour) % (24 * hour)) : wall;
  const [read, ...others] = instantsOf("UTC", kept);
  return { text: textOf(kept), at: others.length > 0 ? undefined : read };
}

type Expected =
  | { count: number; overdue: number; oldest: number | undefined; evidence: Record<string, number> | undefined }
  | { failure: RegExp };
type ReadRow = { status: string; id: string | null } & Record<Model["time"], number | null>;

/** What a check has to say of a ledger. */
function expectedOf(
  model: (typeof models)[number],
  given: Ledger,
  rows: Record<Table, ReadRow[]>,
  now: number,
): Expected {
  const { table, status, hasProviderId, time, stuckAfterMinutes, overdueAfterMinutes } = model;
  const { kind, timeType, fault, statusType, idType } = given[table];
  const cannotRead = { "time dropped": "42703", "time revoked": "42501" }[fault as string];
  // Of several reasons, the first that Postgres finds. A view reads with its owner's rights.
  const reasons = [
    ...(fault === "policy" && kind !== "view" ? ["42501", "row-level"] : []),
    ...(fault === "status renamed" && statusType === "state" ? ["22P02"] : []),
    ...(idType !== "text" && hasProviderId !== undefined ? ["22P02"] : []),
    ...(fault === "id revoked" && hasProviderId !== undefined ? ["42501"] : []),
    ...(stuckAfterMinutes !== undefined && cannotRead ? [cannotRead] : []),
    ...(stuckAfterMinutes !== undefined && noTimes.includes(timeType) ? ["42883"] : []),
    ...(stuckAfterMinutes !== undefined && isDate(timeType) ? ["is a date"] : []),
  ];
  if (reasons.length > 0) return { failure: new RegExp(reasons.join("|")) };
  const hasId = ({ id }: ReadRow) => id !== null && id !== "";
  const isStale = ({ [time]: at }: ReadRow, minutes: number) => at !== null && at < now - minutes * minute;
  const watched = rows[table].filter(
    (row) =>
      fault !== "status renamed" &&
      row.status === status &&
      (hasProviderId === undefined || hasId(row) === hasProviderId),
  );
  const counted = watched.filter((row) => stuckAfterMinutes === undefined || isStale(row, stuckAfterMinutes));
  const times = counted.map((row) => row[time]).filter((at) => at !== null && Number.isFinite(at)) as number[];
  const isUnknown = cannotRead || noTimes.includes(timeType) || times.length === 0;
  const oldest = isUnknown ? undefined : Math.max(1e6, Math.min(...times)); // In microseconds; 0 would mean "none".
  const overdue = overdueAfterMinutes === 0 ? counted : counted.filter((row) => isStale(row, overdueAfterMinutes));
  return {
    count: counted.length,
    overdue: overdue.length,
    oldest: counted.length === 0 ? 0 : oldest,
    evidence: cannotRead || !/^timestamp/.test(timeType) ? undefined : evidenceOf(model, watched, now),
  };
}

/** What tells whether a check is blind: of the rows in the state that it watches, of any age. */
function evidenceOf(model: (typeof models)[number], watched: ReadRow[], now: number): Record<string, number> {
  const { id, time, stuckAfterMinutes, waitsForWebhook } = model;
  const { newest, outside, watches, nearlyStuck } = blindnessMetric;
  const times = watched.map((row) => row[time]).filter((at) => at !== null);
  const latest = Math.max(...times.filter((at) => at <= now && Number.isFinite(at)));
  const found: Record<string, number> = {};
  if (Number.isFinite(latest)) found[nameOf(newest, id)] = latest / 1e6;
  if (stuckAfterMinutes === undefined) return found;
  found[nameOf(outside, id, "no_time")] = watched.length - times.length;
  found[nameOf(outside, id, "ahead")] = times.filter((at) => at > now + 5 * minute).length;
  if (!waitsForWebhook) return found;
  const stuckAt = now - stuckAfterMinutes * minute;
  found[nameOf(watches, id)] = Number(latest > now - 5 * minute);
  found[nameOf(nearlyStuck, id)] = times.filter((at) => at >= stuckAt && at < stuckAt + 5 * minute).length;
  return found;
}
const nameOf = (metric: string, check = "", reason = "") => [metric, check, reason].filter(Boolean).join(" ");

const database = await createDatabase();
const session = await database.admin.reserve();
afterAll(async () => {
  session.release();
  await database.remove();
});

/** Builds the ledger, with the rows as the writer's zone has them. Resolves to the rows as they have to be read. */
async function build(given: Ledger, now: number): Promise<Record<Table, ReadRow[]>> {
  const read = ofTables((): ReadRow[] => []);
  const statements: string[] = [];
  const run = (sql: string) => statements.push(sql);
  run(`create schema truth; grant usage on schema truth to veza_ledger_sampler; set local search_path = truth`);
  run("create domain day as date");
  for (const table of tables) {
    const { rows, kind, timeType, idType, fault } = given[table];
    const isEnum = given[table].statusType === "state";
    const statusType = isEnum ? `${table}_state` : given[table].statusType;
    if (isEnum) run(`create type ${statusType} as enum (${statuses.map((status) => `'${status}'`).join(", ")})`);
    const [times, id] = [timesOf(table), idOf(table)];
    const base = kind === "view" ? `real_${table}` : table;
    run(`create table ${base}
      (n int, status ${statusType}, ${id} ${idType}, ${times.map((time) => `${time} ${timeType}`)})
      ${kind === "partitioned" ? "partition by hash (n)" : ""}`);
    if (kind === "partitioned")
      run(`create table ${table}_0 partition of ${table} for values with (modulus 2, remainder 0);
        create table ${table}_1 partition of ${table} for values with (modulus 2, remainder 1)`);
    const known = rows
      .map(({ created_at, updated_at, ...others }, n) => ({
        n,
        ...others,
        created: written(created_at, timeType, now, given),
        updated: written(updated_at, timeType, now, given),
      }))
      .filter(({ created, updated }) => created.at !== undefined && updated.at !== undefined);
    const rowsWith = (form: "at" | "text") =>
      known.map(({ created, updated, ...others }) => {
        return { ...others, created_at: created[form], updated_at: updated[form] };
      });
    read[table] = rowsWith("at") as ReadRow[];
    const timesAsWritten = times.map((time) => (timeType === "bigint" ? "0" : `${time}::${timeType}`));
    run(`insert into ${base} select n, status::${statusType}, ${idType === "text" ? "id" : "null"}, ${timesAsWritten}
      from jsonb_to_recordset($rows$${JSON.stringify(rowsWith("text"))}$rows$)
        as row (n int, status text, id text, created_at text, updated_at text)`);
    for (const check of given.hasIndexes && idType === "text" ? checks : [])
      if (check.table === table) run(`create index on ${base} (${check.time}) where ${stateOf(check)}`);
    if (fault === "time dropped") for (const time of times) run(`alter table ${base} drop ${time} cascade`);
    if (fault === "policy")
      run(`alter table ${base} enable row level security; create policy few on ${base} using (n = 0)`);
    if (fault === "status renamed") {
      for (const status of isEnum ? statuses : [])
        run(`alter type ${statusType} rename value '${status}' to 'once ${status}'`);
      if (!isEnum) run(`update ${base} set status = 'once ' || status`);
    }
    if (kind === "view") run(`create view ${table} as select * from ${base}`);
    const columns = ["status", ...(fault === "id revoked" ? [] : [id]), ...(/^time/.test(fault) ? [] : times)];
    run(`grant select (${columns.join(", ")}) on ${table} to veza_ledger_sampler`);
  }
  await session.unsafe(statements.join(";"));
  return read;
}

/**
 * Runs the checks, and what tells a blind one, on the transaction's session, each behind a savepoint, since a failed
 * check would end the transaction.
 */
async function sample(): Promise<{ outcomes: Outcome[]; evidence: Series[] }> {
  let turn: Promise<unknown> = Promise.resolve();
  const unsafe = (sql: string) => {
    const answer = turn.then(async () => {
      await session.unsafe("savepoint check_begins");
      try {
        return await session.unsafe(sql.replace(/^set transaction .*/, "")); // It is not the transaction's first.
      } finally {
        await session.unsafe("rollback to check_begins");
      }
    });
    turn = answer.catch(() => {});
    return answer;
  };
  const database = {
    sql: { unsafe },
    ledger: { schema: "truth", timeZone: "UTC" },
    lost: new AbortController().signal,
  } as never;
  const ask = askOn(database, deadlineFor("Postgres", 60_000));
  const ofChecks = blindness.filter(({ of }) => of !== "inserts");
  const [outcomes, { evidence }] = await Promise.all([runChecks(ask), measure(ask, ofChecks)]);
  return { outcomes, evidence };
}

it("counts what a model counts, on random ledgers", { timeout: 300_000 + seconds * 2_000 }, async () => {
  captureLog(); // Of evidence that cannot be read.
  const figures = { ledgers: 0, gauges: 0, "failed by rule": 0, "above 0": 0 };
  const property = fc.asyncProperty(ledger, async (given) => {
    await session.unsafe("begin");
    try {
      // In whole numbers: before PostgreSQL 14, extract() yields a float of 15 digits.
      const [clock] = await session`
        select (extract(epoch from date_trunc('second', now()))::bigint * 1000000
          + extract(microseconds from now())::bigint % 1000000)::text as now,
          current_setting('server_version_num')::int < 140000 as has_floats`;
      const now = Number(clock?.now);
      const rows = await build(given, now);
      await session.unsafe(`set local role veza_ledger_sampler; set local timezone = '${given.writer}';
        set local row_security = ${given.hasRowSecurity ? "on" : "off"};
        set local extra_float_digits = ${given.floatDigits};
        set local enable_seqscan = ${given.hasIndexes ? "off" : "on"}`);
      const { outcomes, evidence } = await sample();
      expect(outcomes).toHaveLength(checks.length);
      for (const model of models) {
        const { id } = model;
        const outcome = outcomes.find(({ check }) => check.id === id) as Outcome;
        const wanted = expectedOf(model, given, rows, now);
        figures.gauges += 1;
        if ("failure" in wanted) {
          const { code, message } = ("error" in outcome ? outcome.error : {}) as { code?: string; message?: string };
          expect(`${code} ${message}`, id).toMatch(wanted.failure);
          figures["failed by rule"] += 1;
          continue;
        }
        if ("error" in outcome) throw outcome.error;
        expect([outcome.count, outcome.overdue], id).toEqual([wanted.count, wanted.overdue]);
        const tolerance = clock?.has_floats ? 1e-5 : 2e-6;
        if (wanted.oldest === undefined) expect(outcome.oldestSeconds, id).toBeUndefined();
        else expect(Math.abs(Number(outcome.oldestSeconds) - wanted.oldest / 1e6), id).toBeLessThan(tolerance);
        if (wanted.evidence) {
          const ofCheck = evidence.filter(({ labels }) => labels.check === id);
          const found = ofCheck.map(({ name, labels, value }) => [nameOf(name, id, labels.reason), value] as const);
          const close = Object.entries(wanted.evidence).map(([name, value]) => [name, expect.closeTo(value, 4)]);
          expect(Object.fromEntries(found)).toEqual(Object.fromEntries(close));
        }
        if (wanted.count > 0) figures["above 0"] += 1;
      }
      figures.ledgers += 1;
    } finally {
      await session.unsafe("rollback");
    }
  });
  say(`TRUTH_SEED=${seed}`);
  await fc.assert(property, { seed, ...limit });
  say(`${JSON.stringify(figures)}, no difference`);
  expect(figures["above 0"]).toBeGreaterThan(figures.gauges / 10);
});
