import { readFile } from "node:fs/promises";
import type http from "node:http";
import { join } from "node:path";
import { alertOf, ranked } from "../config/words-of-checks.ts";
import { acceptedMetric } from "../lib/counts/accepted.ts";
import { amountMetric } from "../lib/counts/amounts.ts";
import { blindnessMetric } from "../lib/counts/blindness.ts";
import { overdueMetric } from "../lib/counts/counting.ts";
import { minutesIn } from "../lib/counts/interval.ts";
import { deadlineFor } from "../lib/deadline.ts";
import type { Series } from "../lib/gateway/exposition.ts";
import { ledgerJob, readGroup } from "../lib/gateway/pushgateway.ts";
import type { Level } from "../lib/log.ts";
import { isLocalHost } from "../lib/settings/settings.ts";
import { readAlerts } from "./alerts.ts";
import type { Buttons } from "./buttons.ts";
import type { CountedRow, Rows } from "./rows.ts";
import { type Place, withTimes } from "./rule-times.ts";

/** What the page shows. It is served as /stack.json, with the alerts of that moment. */
export interface Stack {
  everySeconds: number;
  pushgateway: string;
  /** The latest that has been read as a whole. */
  tick?: Tick;
  /** Why checks have failed in the tick that is under way, by check. */
  reasons: Record<string, unknown>;
  /** The latest lines of the log, newest first. */
  log: { atMs: number; level: Level; message: string; fields: Fields }[];
  /** Base URL of Prometheus, where it runs. */
  prometheus?: string;
  /** Reads the first rows of each check's list. */
  readRows?: () => Promise<Rows>;
  /** Where the page leads to: names and URLs. */
  links: Record<string, string>;
}

/** The counts of a tick, with the evidence and the rows of that tick, and of no other. */
interface Tick {
  atMs: number;
  seconds: number;
  counts: Record<string, number>;
  reasons: Record<string, unknown>;
  evidence: Evidence;
  /** The first rows of each check. There are none of a check whose rows were not so many as its count any more. */
  rows: Record<string, CountedRow[]>;
}

type Fields = Record<string, unknown>;

const maxLines = 12;
const project = join(import.meta.dirname, "..");
const pagePattern = /^\/(?:(?:docs|docs\/runbook|clients\/go)\/)?[\w-]+\.md$/;

/**
 * The alert rules (YAML), with links to the files of this project, and to a Grafana of yours at its usual port. Their
 * steps are 10 s: by the minute, a start would be quiet for over a minute.
 */
export async function localRules(pageUrl: string): Promise<string> {
  const rules = await readFile(join(project, "config/alertmanager/ledger.yml"), "utf8");
  const linked = rules
    .replaceAll("https://repository.example/", pageUrl)
    .replaceAll("https://grafana.example/", "http://127.0.0.1:3000/");
  const isHurried = (place: Place, seconds: number) => place === "interval" || (place === "step" && seconds === 60);
  return withTimes(linked, (seconds, place) => (isHurried(place, seconds) ? 10 : seconds));
}

/** Takes note of a line of the log, now. After a tick, what else the page shows of it is read. */
export function note(stack: Stack, level: Level, message: string, fields: Fields): void {
  const atMs = Date.now();
  if (message === "check failed") stack.reasons[String(fields.check)] = fields.reason;
  if (message === "tick") {
    const { duration_seconds: seconds, ...counts } = fields as Record<string, number>;
    void readTick(stack, { atMs, seconds: seconds ?? 0, counts, reasons: stack.reasons });
    stack.reasons = {};
  }
  stack.log.unshift({ atMs, level, message, fields });
  stack.log.splice(maxLines);
}

/** Never rejects. */
async function readTick(stack: Stack, known: Omit<Tick, "evidence" | "rows">): Promise<void> {
  const [evidence, read] = await Promise.all([readEvidence(stack.pushgateway), stack.readRows?.() ?? ({} as Rows)]);
  const rows: Tick["rows"] = {};
  for (const [id, { first, total }] of Object.entries(read)) if (total === known.counts[id]) rows[id] = first;
  if (!stack.tick || stack.tick.atMs <= known.atMs) stack.tick = { ...known, evidence, rows };
}

interface Evidence {
  /** Amounts with their currencies. */
  amounts: Record<string, string[]>;
  /** Unix time of the newest row. */
  newest: Record<string, number>;
  overdue: Record<string, number>;
  accepted: Record<string, number>;
}

const single = { newest: blindnessMetric.newest, overdue: overdueMetric, accepted: acceptedMetric } as const;

/** What the gateway has of each check besides its count. Nothing without the gateway's answer. */
async function readEvidence(pushgateway: string): Promise<Evidence> {
  const evidence: Evidence = { amounts: {}, newest: {}, overdue: {}, accepted: {} };
  const limit = deadlineFor("the Pushgateway", 2_000);
  const group = { job: ledgerJob, stage: undefined };
  const shown: Series[] = await readGroup({ url: pushgateway }, group, limit).then(
    (answer) => answer.shown,
    () => [],
  );
  for (const { name, labels, value } of shown) {
    const { check = "", currency } = labels;
    for (const [of, metric] of Object.entries(single)) {
      if (name === metric) evidence[of as keyof typeof single][check] = value;
    }
    if (name !== amountMetric) continue;
    evidence.amounts[check] = [...(evidence.amounts[check] ?? []), `${value.toFixed(2)}\u00a0${currency}`];
  }
  return evidence;
}

async function describe(stack: Stack) {
  const alerts = await readAlerts(stack.prometheus);
  const shown = ranked.map(({ id, help, overdueAfter }) => {
    const overdueAfterSeconds = 60 * minutesIn(overdueAfter);
    return { id, meaning: help, runbook: `/docs/runbook/${alertOf({ id })}.md`, overdueAfterSeconds };
  });
  return JSON.stringify({ ...stack, checks: shown, alerts });
}

/**
 * Answers a GET: the page at /, what it shows at /stack.json, and the pages of docs/ as text. A POST to /press/<button>
 * presses a button of the page. Leaves any other method and path to the receiver, and resolves to false. Who asks by a
 * name that is not this machine's gets 403, and so does a press that is not of this page: any web page can have a
 * browser on this machine send either.
 */
export async function answerPage(
  stack: Stack,
  buttons: Buttons,
  { method = "", url: path = "/", headers: { host = "", origin } }: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<boolean> {
  const isPress = method === "POST" && path.startsWith("/press/");
  if (!isPress && method !== "GET" && method !== "HEAD") return false;
  const send = (status: number, type: string, body: string | Buffer) => {
    response.writeHead(status, { "content-type": `${type}; charset=utf-8`, "cache-control": "no-store" }).end(body);
    return true;
  };
  const isOwn = isLocalHost(URL.parse(`http://${host}`)?.hostname ?? "") && (!isPress || origin === `http://${host}`);
  if (!isOwn) return send(403, "text/plain", "Open the page that npm start prints.\n");
  if (isPress) {
    const press = Object.entries(buttons).find(([name]) => path === `/press/${name}`)?.[1];
    if (!press) return send(404, "text/plain", "There is no such button.\n");
    const outcome = await press().catch((error: Error) => `It failed: ${error.message}`);
    return send(200, "text/plain", outcome);
  }
  if (path === "/") return send(200, "text/html", await readFile(join(import.meta.dirname, "page.html")));
  if (path === "/stack.json") return send(200, "application/json", await describe(stack));
  if (pagePattern.test(path)) {
    const text = await readFile(join(project, path)).catch(() => undefined);
    if (text) return send(200, "text/plain", text);
  }
  return send(404, "text/plain", "There is nothing here.\n");
}
