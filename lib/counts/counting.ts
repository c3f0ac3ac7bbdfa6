import { type Family, family, type Series, series } from "../gateway/exposition.ts";
import { readTimeoutMs, sampleTimeoutMs } from "../limits.ts";
import { codeOf } from "../postgres/database.ts";
import type { Ask } from "../postgres/question.ts";
import { refuseHiddenRows } from "../postgres/row-security.ts";
import { type Check, type CheckId, checks, questionOf } from "./checks.ts";

export const overdueMetric = "veza_ledger_overdue_rows";
export const openAgeMetric = "veza_ledger_oldest_open_age_seconds";
export const oldestItemMetric = "veza_ledger_oldest_item_timestamp_seconds";
export const checkSuccessMetric = "veza_ledger_check_success";

/** The help of a check's metric, which says what -1 is. */
export const helpOf = ({ help }: Check): string => `${help}; -1 when the count failed.`;

/** Of some rows: how many are overdue, and the oldest row's time as `oldestAmong` returns it. */
export interface Waiting {
  overdue: number;
  oldestSeconds: number | undefined;
}

/**
 * Of the rows that a check counts, those that are open, since nobody has accepted them: "all" of them, or what is known
 * of them. "unknown" where it was not read which rows are accepted.
 */
export type Open<Rows extends Waiting = Waiting> = "all" | "unknown" | Rows;

/** The same of each check. */
export type OpenByCheck<Rows extends Waiting = Waiting> = Record<CheckId, Open<Rows>>;

/** The same answer for each check. */
export const openEverywhere = <Answer extends "all" | "unknown">(answer: Answer) =>
  Object.fromEntries(checks.map(({ id }) => [id, answer])) as Record<CheckId, Answer>;

/** A measured count, and what is known of its rows. */
type Count = Waiting & { count: number };

/** What became of one check: its count, or the reason for having none. */
export type Outcome = { check: Check } & (Count | { error: unknown });

/**
 * Runs the checks, pipelined on one connection: one round trip, and a second one for a check whose oldest row cannot be
 * had. Never rejects: a check that fails, or has no answer in time, yields its error and leaves the others alone.
 */
export function runChecks(ask: Ask, which = checks): Promise<Outcome[]> {
  const run = async (check: Check) => ({ check, ...(await runCheck(ask, check).catch((error) => ({ error }))) });
  return Promise.all(which.map(run));
}

/** What one count may take, so that all of them fit into a sample, one after the other. */
export const countTimeoutMs = Math.min(readTimeoutMs, Math.floor(sampleTimeoutMs / checks.length));

/** SQLSTATE. */
const noSuchTable = "42P01";
const canceled = "57014";

/** What Postgres does not say about a failed count, by SQLSTATE. */
const hints: Record<string, string> = {
  [noSuchTable]: "is this the ledger's database, and LEDGER_SCHEMA right?",
  [canceled]: `a count may take ${countTimeoutMs / 1000} s`,
};

async function runCheck(ask: Ask, check: Check): Promise<Count> {
  const count = async (withOldest: boolean) => countIn((await ask(questionOf(check, { withOldest })))[0]);
  try {
    return await count(true);
  } catch (error) {
    const code = codeOf(error);
    const hint = hints[code];
    if (hint) throw Object.assign(new Error(`${(error as Error).message}: ${hint}`), { code });
    // SQLSTATE class 42 or 22: the schema or a value does not suit the statement, and perhaps only its `oldest`.
    if (!/^(42|22)/.test(code)) throw error;
    return await count(false);
  }
}

/** Returns the count in an answer. Throws if there is none, or if the answer says that it may be wrong. */
function countIn(row: Record<string, unknown> | undefined): Count {
  if (!row) throw new Error("the query returned no row");
  refuseHiddenRows(row);
  if (row.time_type === "date") throw new Error("the column is a date: it cannot tell minutes");
  const count = numberOf(row.count);
  return { count, overdue: numberOf(row.overdue), oldestSeconds: oldestAmong(count, row.oldest) };
}

/** A number of rows, as an answer has it. Throws if it is none. */
function numberOf(rows: unknown): number {
  const number = /^\d+$/.test(String(rows)) ? Number(rows) : Number.NaN;
  if (!Number.isSafeInteger(number)) throw new Error("the query returned no count");
  return number;
}

/**
 * The oldest row's Unix time in seconds: 0 when nothing was counted, undefined when unknown. At least 1, since software
 * may write the epoch, or the year 1, for "no time", and such a row is there.
 */
export function oldestAmong(count: number, oldest: unknown): number | undefined {
  if (count === 0) return 0;
  return typeof oldest === "string" ? Math.max(1, Number(oldest)) : undefined;
}

/** The age in seconds at a tick: 0 without a row, Infinity where there are rows and no time is known. */
function ageOf(oldestSeconds: number | undefined, atSeconds: number): number {
  if (oldestSeconds === undefined) return Infinity;
  return oldestSeconds === 0 ? 0 : Math.max(1, atSeconds - oldestSeconds);
}

/**
 * The series of the checks, of a tick at `atSeconds`. Per check a count, -1 when unknown, and whether it succeeded.
 * Absent when unknown: the oldest row's timestamp, and for the alerts, of the open rows, how many are overdue and the
 * oldest one's age. That age stands still when the sampler dies: silence ages no row.
 */
export function seriesOf(outcomes: Outcome[], atSeconds: number, open: OpenByCheck): Series[] {
  return outcomes.flatMap((outcome) => {
    const { id, metric } = outcome.check;
    const labels = { check: id };
    if ("error" in outcome) return [series(metric, {}, -1), series(checkSuccessMetric, labels, 0)];
    const { count, oldestSeconds } = outcome;
    const rows = open[id] === "all" ? outcome : open[id];
    const ofAlerts =
      rows === "unknown"
        ? []
        : [
            series(overdueMetric, labels, rows.overdue),
            series(openAgeMetric, labels, ageOf(rows.oldestSeconds, atSeconds)),
          ];
    return [
      series(metric, {}, count),
      series(checkSuccessMetric, labels, 1),
      ...ofAlerts,
      ...(oldestSeconds === undefined ? [] : [series(oldestItemMetric, labels, oldestSeconds)]),
    ];
  });
}

export const checkFamilies: Family[] = [
  ...checks.map((check) => family("gauge", check.metric, helpOf(check))),
  family("gauge", overdueMetric, "Rows that wait too long and that nobody has accepted; absent if unknown."),
  family(
    "gauge",
    openAgeMetric,
    "Age at the tick of the oldest row that nobody has accepted; 0 for none, absent if unknown.",
  ),
  family("gauge", oldestItemMetric, "Unix time of the oldest row it counted; 0 for none, absent if unknown."),
  family("gauge", checkSuccessMetric, "1 when the check has a count, 0 when the count failed and is -1."),
];
