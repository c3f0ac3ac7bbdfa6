import { hash } from "node:crypto";
import { type Check, checkFamilies, checks, type Outcome, runChecks, seriesOf } from "./checks.ts";
import { type Connections, isConnectionLost, withDeadline } from "./database.ts";
import { evidenceFamilies, readEvidence } from "./evidence.ts";
import { expose, type Family, family, type Series } from "./exposition.ts";
import type { DatabaseTarget } from "./login.ts";
import { askOn } from "./question.ts";

/** What a tick measured. */
export interface Sample {
  outcomes: Outcome[];
  evidence: Series[];
}

/** Clocks further apart than this cannot tell minutes. */
export const maxClockDifferenceSeconds = 60;

/** How far apart, in seconds, Postgres' clock and ours are at least, when it said `now` after `askedAtSeconds`. */
export function clockDifferenceSeconds(now: number, askedAtSeconds: number): number {
  return Math.max(askedAtSeconds - now, now - Date.now() / 1000);
}

const mayRead = (relation: string) => `exists (
      select from pg_class where relname = '${relation}' and has_table_privilege(oid, 'select')
        and relnamespace = (select oid from pg_namespace where nspname = 'ledger_metrics'))`;

/**
 * SQL: the first question of each session asks whether answers can be believed. It costs nothing: postgres.js sends a
 * first query alone in any case.
 */
const witness = `
  select pg_is_in_recovery() as is_replica, extract(epoch from clock_timestamp())::numeric as now,
    coalesce(has_any_column_privilege(to_regclass('ledger_metrics_outbox'), 'select'), false) as "hasOutbox",
    ${mayRead("amounts_at_risk")} as "hasAmounts", ${mayRead("accepted")} as "hasAccepted"`;

/**
 * Runs the checks, with the evidence beside them. When the session ends in mid-tick, retries unanswered checks once on
 * a new connection. Never rejects: without a connection, on a replica, or when `deadline` aborts, the outcomes are
 * errors.
 */
export async function takeSample(connections: Connections, deadline: AbortSignal): Promise<Sample> {
  const first = await sampleOnce(connections, deadline, checks);
  const unanswered = first.outcomes.filter((outcome) => "error" in outcome && isConnectionLost(outcome.error));
  if (unanswered.length === 0 || deadline.aborted) return first;
  const { outcomes, evidence } = await sampleOnce(
    connections,
    deadline,
    unanswered.map(({ check }) => check),
  );
  const latest = (outcome: Outcome) => outcomes.find(({ check }) => check === outcome.check) ?? outcome;
  return { outcomes: first.outcomes.map(latest), evidence };
}

async function sampleOnce(connections: Connections, deadline: AbortSignal, which: readonly Check[]): Promise<Sample> {
  const fail = (error: unknown) => (check: Check) => ({ check, error });
  try {
    return await connections.use(async (database) => {
      const askedAtSeconds = Date.now() / 1000;
      const [seen] = await withDeadline(database, deadline, (sql) => sql.unsafe(witness));
      if (!seen) throw new Error("Postgres left the first question unanswered");
      if (seen.is_replica) throw new Error("a replica: name the primary");
      const ask = askOn(database, deadline);
      const difference = clockDifferenceSeconds(seen.now, askedAtSeconds);
      if (difference > maxClockDifferenceSeconds) {
        const apart = fail(new Error(`the clocks of Postgres and the sampler are ${Math.round(difference)} s apart`));
        const timeless = which.filter(({ staleAfter }) => !staleAfter);
        const outcomes = await runChecks(ask, timeless);
        return {
          outcomes: which.map((check) => outcomes.find((found) => found.check === check) ?? apart(check)),
          evidence: [],
        };
      }
      const [outcomes, evidence] = await Promise.all([
        runChecks(ask, which),
        readEvidence(ask, { hasOutbox: seen.hasOutbox, hasAmounts: seen.hasAmounts, hasAccepted: seen.hasAccepted }),
      ]);
      return { outcomes, evidence };
    });
  } catch (error) {
    return { outcomes: which.map(fail(error)), evidence: [] };
  }
}

export const infoMetric = "veza_ledger_sampler_info";
export const sampleTimestampMetric = "veza_ledger_sample_timestamp_seconds";
export const sampleDurationMetric = "veza_ledger_sample_duration_seconds";

export const sampleFamilies: Family[] = [
  ...checkFamilies,
  ...evidenceFamilies,
  family("gauge", infoMetric, "1; who counts: version, AWS region, and the database's name with a digest of its host."),
  family(
    "gauge",
    sampleTimestampMetric,
    "Unix time at which the tick started, by the sampler's clock; the counts are no older than that.",
  ),
  family("gauge", sampleDurationMetric, "Seconds from the start of the tick until the last answer of Postgres."),
];

/** When a tick started, in Unix seconds, how long it sampled, and which database. */
export interface Tick {
  sampledAtSeconds: number;
  durationSeconds: number;
  database: DatabaseTarget;
}

/**
 * Returns the sample in Prometheus' text format. The info tells two samplers apart that overwrite each other's group.
 */
export function exposeSample({ outcomes, evidence }: Sample, { database, ...tick }: Tick): Promise<string> {
  const { VERSION, npm_package_version, AWS_REGION: region = "" } = process.env;
  const digest = hash("sha256", `${database.host}:${database.port}`).slice(0, 8);
  const info = { version: VERSION ?? npm_package_version ?? "", region, database: `${database.database}@${digest}` };
  return expose(sampleFamilies, [
    ...seriesOf(outcomes),
    ...evidence,
    { name: infoMetric, labels: info, value: 1 },
    { name: sampleTimestampMetric, labels: {}, value: tick.sampledAtSeconds },
    { name: sampleDurationMetric, labels: {}, value: tick.durationSeconds },
  ]);
}
