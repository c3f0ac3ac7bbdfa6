import { connect } from "../commands/connect.ts";
import { checks, questionOf, seriesOf } from "../lib/checks.ts";
import { deadline } from "../lib/deadline.ts";
import { parseEvents, phases, type SentEvent, tally } from "../lib/events.ts";
import { expose, type Series } from "../lib/exposition.ts";
import { sampleFamilies, sampleTimestampMetric } from "../lib/sample.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { exposeTotals } from "../lib/totals.ts";

const minutes = 60;
/** The reconciler repaired one row of these phases every so many minutes. */
const repairEveryMinutes: Record<string, number> = { stuck_orders: 2, stuck_refunds: 3 };

/** An hour of the past: what Prometheus would have scraped, and the body of one delivery with the same totals. */
export interface History {
  openMetrics: string;
  events: string;
}

/**
 * Makes up the last hour, one tick and one sweep a minute, until a minute ago. The counts are what the checks would
 * have counted of the rows that are in the demo ledger now, and of the rows that were repaired since. The reconciler's
 * totals begin at 0.
 */
export async function demoHistory(adminUrl: string): Promise<History> {
  const target = parseDatabaseUrl(adminUrl);
  const { sql, close } = await connect(async () => target, "veza-demo-history", deadline("Postgres", 10_000));
  const startSeconds = Math.floor(Date.now() / 1000) - minutes * 60;
  const countsOf = (question: string) =>
    sql.unsafe(`select counted.count::int, coalesce(counted.oldest, 0)::float8 as oldest
    from generate_series(0, ${minutes - 1}) as minute,
      lateral (select to_timestamp(${startSeconds}) + minute * interval '1 minute' as at) as tick,
      lateral (${question.replaceAll("now()", "tick.at")}) as counted
    order by minute`);
  const counts = await Promise.all(checks.map((check) => countsOf(questionOf(check, { withOldest: true }))));
  await close();

  let text = "";
  let totals: Series[] = [];
  const events: SentEvent[] = [];
  for (let minute = 0; minute < minutes; minute += 1) {
    const atSeconds = startSeconds + minute * 60;
    const outcomes = checks.map((check, index) => {
      const row = counts[index]?.[minute];
      return { check, count: row?.count + repairedAfter(minute, check.id), oldestSeconds: row?.oldest };
    });
    const tick = { name: sampleTimestampMetric, labels: {}, value: atSeconds };
    const sample = await expose(sampleFamilies, [...seriesOf(outcomes), tick]);
    text += labelled(sample, "veza_ledger", atSeconds);

    const timestamp = new Date(atSeconds * 1000).toISOString();
    for (const phase of phases) {
      const every = repairEveryMinutes[phase];
      if (every && minute % every === 0) events.push({ type: "reconciler.action", timestamp, data: { phase } });
    }
    events.push({
      type: "reconciler.sweep",
      timestamp,
      data: { duration_seconds: 0.15 * 1.06 ** ((minute * 7) % 40) },
    });
    totals = tally(parseEvents(JSON.stringify(events)));
    text += labelled(await exposeTotals(totals), "veza_reconciler", atSeconds);
  }
  return { openMetrics: `${text}# EOF\n`, events: JSON.stringify(events) };
}

/** How many rows of a phase the reconciler repaired after this minute. */
function repairedAfter(minute: number, phase: string): number {
  const every = repairEveryMinutes[phase];
  return every ? Math.ceil(minutes / every) - Math.floor(minute / every) - 1 : 0;
}

/** The samples of a text in Prometheus' format, with the labels of their group and the time of their scrape. */
function labelled(text: string, job: string, atSeconds: number): string {
  const samples = text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm);
  return [...samples]
    .map(([, name, labels = "", value]) => `${name}{${labels && `${labels},`}job="${job}"} ${value} ${atSeconds}\n`)
    .join("");
}
