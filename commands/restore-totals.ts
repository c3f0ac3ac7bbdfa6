import { parseArgs } from "node:util";
import { deadline } from "../lib/deadline.ts";
import { exposeTotals, reconcilerMetric, seriesKey, type Total } from "../lib/events.ts";
import { errorFields, fetchFailure } from "../lib/log.ts";
import { readGroup } from "../lib/pushgateway.ts";
import { loadSettings, type Settings } from "../lib/settings.ts";
import { lockKey } from "../lib/totals.ts";
import { connect } from "./connect.ts";

// npm run restore-totals: after a failover or a restore, raises each total to the value that was last shown.
const usage = `usage: npm run restore-totals [-- --prometheus <url> [--within <duration>]]

Raises each total to what the Pushgateway shows, so that no counter falls. Deliveries that Postgres has lost fill that
up when they are sent again: docs/failover.md.

  --prometheus <url>   takes the highest values that this Prometheus or VictoriaMetrics has seen, instead
  --within <duration>  for how long to look back there, such as 6h; by default 1h

It needs the receiver's settings: SECRET_ID, or DATABASE_URL, PUSHGATEWAY_URL and WEBHOOK_SECRET; and STAGE.`;

const options = {
  prometheus: { type: "string" },
  within: { type: "string", default: "1h" },
  help: { type: "boolean", short: "h" },
} as const;

const { prometheus, within } = readArguments();
try {
  const settings = await loadSettings("receiver");
  // Before the transaction: a Prometheus may take longer than Postgres lets one idle.
  const highest = prometheus && (await askPrometheus(settings));
  const raised = await raiseTotals(settings, async () => highest ?? (await askGateway(settings)));
  for (const line of raised) console.log(line);
  console.log(
    raised.length ? "Next, send again what may be lost: docs/failover.md." : "Every total is as high as shown.",
  );
} catch (error) {
  console.error(`Nothing was raised: ${errorFields(error).reason}`);
  process.exitCode = 1;
}

/** Returns the options, with valid values. Ends the process on `--help` and when the call makes no sense. */
function readArguments(): { prometheus: URL | undefined; within: string } {
  try {
    const { values } = parseArgs({ options });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const url = values.prometheus === undefined ? undefined : URL.parse(values.prometheus);
    if (url === null || (url && !/^https?:$/.test(url.protocol)))
      throw new Error("--prometheus must be an http or https URL");
    if (!/^([1-9]\d*[smhdw])+$/.test(values.within)) throw new Error("--within must be a duration such as 90m or 6h");
    return { prometheus: url, within: values.within };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

async function askGateway({ pushgateway, stage }: Settings): Promise<Total[]> {
  const group = { job: "veza_reconciler", stage };
  const shown = await readGroup(pushgateway, group, deadline("the Pushgateway", 5_000)).catch((error) => {
    throw new Error(`the Pushgateway cannot be read: ${fetchFailure(error)}`);
  });
  if (shown.length === 0) throw new Error("the Pushgateway shows no totals of this stage; try --prometheus <url>");
  return shown;
}

/** The highest value of each series: a counter that has fallen is to be raised to where it was before. */
async function askPrometheus({ stage = "" }: Settings): Promise<Total[]> {
  const url = new URL(prometheus as URL);
  const credentials = Buffer.from(decodeURIComponent(`${url.username}:${url.password}`)).toString("base64");
  const headers = url.username ? { authorization: `Basic ${credentials}` } : {};
  Object.assign(url, { username: "", password: "", pathname: `${url.pathname.replace(/\/$/, "")}/api/v1/query` });
  const names = new Set((await exposeTotals([])).match(/^\w+/gm));
  const all: Total[] = [];
  for (const name of names) {
    const range = `${name}{job="veza_reconciler",stage="${stage}"}[${within}]`;
    url.search = new URLSearchParams({ query: `max by (phase, le) (max_over_time(${range}))` }).toString();
    const answer = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
    const { data, error } = (await answer.json().catch(() => ({ error: `status ${answer.status}` }))) as Answer;
    if (!data) throw new Error(`Prometheus: ${error}`);
    all.push(...data.result.map(({ metric, value }) => ({ name, labels: metric, value: Number(value[1]) })));
  }
  if (all.length === 0) throw new Error(`Prometheus has seen no totals of this stage within ${within}; try --within`);
  return all;
}

interface Answer {
  data?: { result: { metric: Record<string, string>; value: [number, string] }[] };
  error?: string;
}

/**
 * Raises the totals that are below what `look` has seen, in one transaction and under the publishers' lock. Returns a
 * line for each. A total that is raised is ahead of what was recorded; a gauge, the last run, is not.
 */
async function raiseTotals({ database: target }: Settings, look: () => Promise<Total[]>): Promise<string[]> {
  const findDatabase = async (fresh: boolean) =>
    fresh ? (await loadSettings("receiver", { fresh })).database : target;
  const { sql, close } = await connect(findDatabase, "veza-ledger-restore", deadline("Postgres", 10_000));
  try {
    return await sql.begin(async (transaction) => {
      await transaction.unsafe(`select pg_advisory_xact_lock(${lockKey})`);
      const shown = await look();
      const before = await transaction<Total[]>`select name, labels, value::float8 from ledger_metrics.totals`;
      const after = await transaction<Total[]>`
        insert into ledger_metrics.totals as total (name, labels, value, ahead)
        select name, labels, value, case name when ${reconcilerMetric.lastRun} then 0 else value end
        from jsonb_to_recordset(${JSON.stringify(shown)}::text::jsonb) as shown (name text, labels jsonb, value numeric)
        where value > 0
        order by name, labels
        on conflict (name, labels) do update set value = excluded.value,
          ahead = total.ahead + case total.name
            when ${reconcilerMetric.lastRun} then 0 else excluded.value - total.value end
        where excluded.value::float8 > total.value::float8
        returning name, labels, value::float8`;
      return after.map((row) => {
        const labels = Object.entries(row.labels).map(([key, label]) => `${key}="${label}"`);
        const old = before.find(({ name, labels }) => seriesKey(name, labels) === seriesKey(row.name, row.labels));
        return `${row.name}${labels.length ? `{${labels.join()}}` : ""}: ${old?.value ?? 0} → ${row.value}`;
      });
    });
  } finally {
    await close();
  }
}
