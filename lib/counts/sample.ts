import { hash } from "node:crypto";
import { expose, type Family, family, type Series, series } from "../gateway/exposition.ts";
import { maxClockDifferenceSeconds } from "../limits.ts";
import type { Connections } from "../postgres/connections.ts";
import { type Database, isConnectionLost } from "../postgres/database.ts";
import { askOn, measure } from "../postgres/question.ts";
import { askSession } from "../postgres/session-facts.ts";
import type { DatabaseTarget } from "../settings/settings.ts";
import { acceptedFamilies, acceptedSeries, measureOpenRows, type OpenRows } from "./accepted.ts";
import { amountFamily, amounts } from "./amounts.ts";
import { believed, blindness, blindnessFamilies, evidenceSuccessSeries } from "./blindness.ts";
import { type Check, checks } from "./checks.ts";
import {
  checkFamilies,
  countTimeoutMs,
  type OpenByCheck,
  type Outcome,
  openEverywhere,
  runChecks,
  seriesOf,
} from "./counting.ts";
import { outbox, outboxFamilies } from "./outbox.ts";

/** What a tick measured. */
export interface Sample {
  /** What each check found: a count or an error. */
  outcomes: Outcome[];
  /** The series that tell whether a check is blind. Also those of the amounts and the outbox, where these are there. */
  evidence: Series[];
  /** What could not be read: the `of` of each question that got no answer, and the checks whose `open` is unknown. */
  unread: string[];
  open: OpenByCheck<OpenRows>;
}

/**
 * Runs the checks, with their evidence. When the session ends in mid-tick, retries unanswered checks once on
 * a new connection. Never rejects: without a connection, on a replica, or when `deadline` aborts, the outcomes are
 * errors.
 */
export async function takeSample(connections: Connections, deadline: AbortSignal): Promise<Sample> {
  const sampleOf = (which: readonly Check[]): Promise<Sample> =>
    connections
      .use((database) => sampleOn(database, deadline, which))
      .catch((error) => ({ outcomes: allFailed(which, error), ...noEvidence }));
  const first = await sampleOf(checks);
  const unanswered = first.outcomes.filter((outcome) => "error" in outcome && isConnectionLost(outcome.error));
  if (unanswered.length === 0 || deadline.aborted) return first;
  const second = await sampleOf(unanswered.map(({ check }) => check));
  return { ...second, outcomes: replaceIn(first.outcomes, second.outcomes) };
}

async function sampleOn(database: Database, deadline: AbortSignal, which: readonly Check[]): Promise<Sample> {
  const facts = await askSession(database, deadline);
  const { apartSeconds, hasAmounts, hasAccepted, hasOutbox } = facts;
  const ask = askOn(database, deadline, { statement_timeout: `${countTimeoutMs}ms` });
  if (apartSeconds > maxClockDifferenceSeconds) {
    const error = new Error(`the clocks of Postgres and the sampler are ${Math.round(apartSeconds)} s apart`);
    const timeless = which.filter(({ stuckAfter }) => !stuckAfter);
    const [counted, open] = await Promise.all([
      runChecks(ask, timeless),
      hasAccepted ? measureOpenRows(ask) : openEverywhere("all"),
    ]);
    return { ...noEvidence, outcomes: replaceIn(allFailed(which, error), counted), open };
  }
  const [outcomes, { evidence, unread }, open] = await Promise.all([
    runChecks(ask, which), // First, since Postgres answers in this order.
    measure(ask, [...blindness, ...(hasAmounts ? [amounts] : []), ...(hasOutbox ? [outbox] : [])]),
    hasAccepted ? measureOpenRows(ask) : openEverywhere("all"),
  ]);
  const unreadOpen = checks.map(({ id }) => id).filter((id) => open[id] === "unknown");
  return { outcomes, evidence, unread: [...unread, ...unreadOpen], open };
}

const noEvidence: Omit<Sample, "outcomes"> = {
  evidence: [],
  unread: blindness.map(({ of }) => of),
  open: openEverywhere("unknown"),
};

const allFailed = (which: readonly Check[], error: unknown) => which.map((check) => ({ check, error }));

const replaceIn = (outcomes: Outcome[], by: Outcome[]) =>
  outcomes.map((outcome) => by.find(({ check }) => check === outcome.check) ?? outcome);

export const infoMetric = "veza_ledger_sampler_info";
export const sampleTimestampMetric = "veza_ledger_sample_timestamp_seconds";
export const otherSamplerMetric = "veza_ledger_other_sampler_timestamp_seconds";
export const sampleDurationMetric = "veza_ledger_sample_duration_seconds";

export const sampleFamilies: Family[] = [
  ...checkFamilies,
  ...blindnessFamilies,
  ...acceptedFamilies,
  amountFamily,
  ...outboxFamilies,
  family("gauge", infoMetric, "1; who counts: version, AWS region, and the database's name with a digest of its host."),
  family("gauge", otherSamplerMetric, "Unix time of a tick of another sampler, whose numbers this tick has replaced."),
  family("gauge", sampleTimestampMetric, "Unix time at which the tick started; the counts are no older than that."),
  family("gauge", sampleDurationMetric, "Seconds from the start of the tick until the last answer of Postgres."),
];

/** A tick: when it started, in Unix seconds, how long it sampled, and which database. */
export interface Tick {
  sampledAtSeconds: number;
  durationSeconds: number;
  database: DatabaseTarget;
  /** The other sampler whose numbers this tick replaces, if there is one. */
  other?: Series | undefined;
}

/** The labels that say who counts. They tell two samplers apart that push to one group. */
export function infoOf({ host, port, database }: DatabaseTarget): Series["labels"] {
  const { VERSION, npm_package_version, AWS_REGION: region = "" } = process.env;
  const digest = hash("sha256", `${host}:${port}`).slice(0, 8);
  return { version: VERSION ?? npm_package_version ?? "", region, database: `${database}@${digest}` };
}

/** The sample in Prometheus' text format. */
export function exposeSample(sample: Sample, tick: Tick): Promise<string> {
  const { database, sampledAtSeconds, durationSeconds, other } = tick;
  const { outcomes, evidence, unread, open } = sample;
  return expose(sampleFamilies, [
    ...seriesOf(outcomes, sampledAtSeconds, open),
    ...acceptedSeries(outcomes, open),
    ...believed(evidence, outcomes),
    ...evidenceSuccessSeries(outcomes, unread),
    series(infoMetric, infoOf(database), 1),
    ...(other ? [other] : []),
    series(sampleTimestampMetric, {}, sampledAtSeconds),
    series(sampleDurationMetric, {}, durationSeconds),
  ]);
}
