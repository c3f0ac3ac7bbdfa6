import { acceptedSeries } from "../../lib/counts/accepted.ts";
import { believed, evidenceSuccessSeries } from "../../lib/counts/blindness.ts";
import type { CheckId } from "../../lib/counts/checks.ts";
import { type Outcome, seriesOf } from "../../lib/counts/counting.ts";
import { type Sample, takeSample } from "../../lib/counts/sample.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { keepConnections } from "../../lib/postgres/connections.ts";
import type { Ledger } from "../../lib/settings/ledger.ts";
import { targetOf } from "./database.ts";

/** A sample on a connection of its own, as this login, of a ledger that is in `public` and writes in UTC. */
export async function sampleOf(url: string, ledger: Partial<Ledger> = {}): Promise<Sample> {
  const target = targetOf(url);
  const connections = keepConnections("test")(async () => ({ ...target, ledger: { ...target.ledger, ...ledger } }));
  const sample = await takeSample(connections, deadlineFor("Postgres", 60_000));
  await connections.closeFree();
  return sample;
}

/** A sample as on the gateway, without its first word: the series of these names. */
export const evidenceOf = async (url: string, names = /./): Promise<Record<string, number>> =>
  evidenceIn(await sampleOf(url), names);

/** The same of a sample that was taken. */
export function evidenceIn({ outcomes, evidence, unread, open }: Sample, names = /./): Record<string, number> {
  const labelsOf = (labels: object) => Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const series = [
    ...seriesOf(outcomes, Date.now() / 1000, open),
    ...acceptedSeries(outcomes, open),
    ...believed(evidence, outcomes),
    ...evidenceSuccessSeries(outcomes, unread),
  ];
  const all = series.map(({ name, labels, value }) => [`${name.slice(12)}{${labelsOf(labels)}}`, value] as const);
  return Object.fromEntries(all.filter(([series]) => names.test(series)));
}

/** What the checks find. */
export const sampleAs = async (url: string, ledger?: Partial<Ledger>): Promise<Outcome[]> =>
  (await sampleOf(url, ledger)).outcomes;

/** What each check found, by its id: a count, or what `failed` makes of its error. */
export const countsIn = (outcomes: Outcome[], failed: (error: unknown) => unknown) =>
  Object.fromEntries(
    outcomes.map((outcome) => [outcome.check.id, "error" in outcome ? failed(outcome.error) : outcome.count]),
  ) as Record<CheckId, unknown>;
