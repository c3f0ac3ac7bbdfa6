// Whether Prometheus has the rules, and this service's numbers. It is asked, since it may be anywhere, and anybody's.
import { setTimeout as sleep } from "node:timers/promises";
import { deadlineFor } from "../../lib/deadline.ts";
import { fetchFailure } from "../../lib/gateway/fetch-failure.ts";

const requestMs = 10_000;
/** Each tick pushes its own time. After a move, a gateway that was left behind still shows the last one. */
const freshSeconds = 180;
/** It fires for as long as ticks arrive. */
const alive = "VezaLedgerAlive";

/** Of answers of /api/v1/rules and /api/v1/query. */
interface Data {
  groups?: { rules: { name: string }[] }[];
  result?: unknown[];
}

/** What is asked about. */
interface Asked {
  /** Prometheus' URL. */
  prometheus: string;
  /** Of the gateway that the service pushes to, without a login. */
  gateway: string;
  /** May be empty. */
  stage: string;
  /** The file of the rules. */
  rules: string;
  /** Where people read the documents. */
  repository: string;
}

/**
 * Sentences for what is left to do with Prometheus. Asks again for up to `waitMs` while something is: rules that were
 * loaded just now are read, and a scrape takes 15 s. Each request takes 10 s at most.
 */
export async function leftOfPrometheus(asked: Asked, waitMs: number): Promise<string[]> {
  const waiting = deadlineFor("Prometheus", waitMs);
  for (;;) {
    const left = await leftNow(asked);
    if (left.length === 0 || waiting.aborted) return left;
    await sleep(1000);
  }
}

async function leftNow({ prometheus, gateway, stage, rules, repository }: Asked): Promise<string[]> {
  const page = `${repository}/docs/servers-in-use.md#prometheus`;
  /** The `data` of an answer of Prometheus' API. */
  const ask = async (path: string): Promise<Data> => {
    const url = `${prometheus.replace(/\/$/, "")}/api/v1/${path}`;
    const answer = await fetch(url, { redirect: "manual", signal: deadlineFor("Prometheus", requestMs) });
    if (answer.status !== 200) throw new Error(`it answers ${answer.status}`);
    const body = (await answer.json().catch(() => undefined)) as { data?: Data } | null | undefined;
    if (!body?.data) throw new Error("its answer is not Prometheus'");
    return body.data;
  };
  const has = async (query: string) => {
    const { result = [] } = await ask(`query?${new URLSearchParams({ query })}`);
    return result.length > 0;
  };
  try {
    const left: string[] = [];
    // VictoriaMetrics has no rules: it shows what vmalert writes of them.
    const { groups = [] } = await ask("rules");
    const isLoaded = groups.some(({ rules }) => rules.some(({ name }) => name === alive));
    const hasRules = isLoaded || (await has(`ALERTS{alertname="${alive}"}`));
    if (!hasRules) left.push(`Let ${prometheus} load ${rules}: ${page}`);
    const times = `veza_ledger_sample_timestamp_seconds{stage="${stage}"}`;
    if (!(await has(`max(${times}) > time() - ${freshSeconds}`)))
      left.push(`Let ${prometheus} scrape ${gateway}: it has no number of the last minutes from there. ${page}`);
    return left;
  } catch (error) {
    return [
      `See that ${prometheus} has the rules and the scrape job. It was not asked: ${fetchFailure(error)}. ${page}`,
    ];
  }
}
