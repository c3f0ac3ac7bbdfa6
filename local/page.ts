import { readFile } from "node:fs/promises";
import type http from "node:http";
import path from "node:path";
import { load } from "js-yaml";
import { checks } from "../lib/checks.ts";
import type { Line } from "../lib/log.ts";
import { isLocalHost } from "../lib/settings.ts";
import { docsPage } from "./docs-page.ts";

/** What the page shows and `npm run demo` needs, served as /stack.json. */
export interface Stack {
  checks: { id: string; metric: string; meaning: string; runbook: string | undefined }[];
  everySeconds: number;
  tick?: {
    at: number;
    seconds: number;
    counts: Record<string, number>;
    /** Why a count is unknown, by check. */
    reasons: Record<string, string>;
    /** What the same tick has pushed next to its counts. */
    evidence: Promise<Evidence>;
  };
  /** Reasons of the tick that is under way. */
  reasons: Record<string, string>;
  /** The latest deliveries, newest first. */
  deliveries: { at: number; status: string; id?: string | undefined; events?: number; published?: boolean }[];
  /** Base URL of Prometheus, where it runs. */
  prometheus?: string;
  /** Where the page leads to: names and URLs. */
  links: Record<string, string>;
  /** What `npm run demo` may break. */
  postgresPort: number;
  pushgatewayPort: number;
}

/** By check: amounts with their currencies, and the Unix time of the newest row. */
interface Evidence {
  amounts: Record<string, string[]>;
  newest: Record<string, number>;
}

/** Three rows; the last is stuck. */
const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" stroke-width="3">
<path d="M1 3h14M1 8h14" stroke="#5b8def"/><path d="M1 13h8" stroke="#d0242b"/></svg>`;

const maxDeliveries = 10;
const project = path.join(import.meta.dirname, "..");

/** The alert rules (YAML), whose links lead to this page's own runbook and dashboard. */
export async function localRules(pageUrl: string): Promise<string> {
  const rules = await readFile(path.join(project, "config/alertmanager/ledger.yml"), "utf8");
  return rules.replaceAll(/https:\/\/(repository|grafana)\.example\//g, pageUrl);
}

/** A stack that has not ticked yet. A check's page of the runbook is the page of its own alert. */
export function newStack(
  rules: string,
  running: Pick<Stack, "everySeconds" | "postgresPort" | "pushgatewayPort">,
): Stack {
  const { groups } = load(rules) as { groups: { rules: { expr: string; annotations?: { runbook_url: string } }[] }[] };
  const alerts = groups.flatMap((group) => group.rules).filter(({ annotations }) => annotations);
  return {
    checks: checks.map(({ id, metric, help }) => ({
      id,
      metric,
      meaning: help.split(";")[0] ?? "",
      runbook: alerts.find(({ expr }) => expr.includes(metric))?.annotations?.runbook_url,
    })),
    ...running,
    reasons: {},
    deliveries: [],
    links: {},
  };
}

/** Takes note of a line of the log, where the page shows it. */
export function note(stack: Stack, ...[message, fields]: Line): void {
  const at = Date.now();
  switch (message) {
    case "tick": {
      const { duration_seconds: seconds, ...counts } = fields;
      stack.tick = { at, seconds, counts, reasons: stack.reasons, evidence: readEvidence(stack.pushgatewayPort) };
      stack.reasons = {};
      break;
    }
    case "check failed":
      stack.reasons[fields.check] = fields.reason;
      break;
    case "delivery":
      stack.deliveries.unshift({ at, ...fields });
      break;
    case "delivery refused":
      stack.deliveries.unshift({ at, status: `refused ${fields.status}`, id: fields.id });
      break;
    case "request refused":
      stack.deliveries.unshift({ at, status: `refused ${fields.status}` });
      break;
    case "delivery not confirmed":
      stack.deliveries.unshift({ at, status: "not confirmed", id: fields.id });
  }
  stack.deliveries.splice(maxDeliveries);
}

/** Reads what a tick has just pushed. Without an answer there is no evidence. */
async function readEvidence(pushgatewayPort: number): Promise<Evidence> {
  const evidence: Evidence = { amounts: {}, newest: {} };
  const url = `http://127.0.0.1:${pushgatewayPort}/metrics`;
  const answer = fetch(url, { signal: AbortSignal.timeout(2_000) }).then((response) => response.text());
  const samples = (await answer.catch(() => "")).matchAll(/^veza_ledger_(amount|newest)_\w+\{(.*)\} (\S+)$/gm);
  for (const [, kind, labels = "", value] of samples) {
    const { check = "", currency } = Object.fromEntries(
      [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, text]) => [name, text]),
    );
    if (kind === "newest") evidence.newest[check] = Number(value);
    else evidence.amounts[check] = [...(evidence.amounts[check] ?? []), `${Number(value).toFixed(2)}\u00a0${currency}`];
  }
  return evidence;
}

/**
 * Answers a GET: the page at /, what it shows at /stack.json, the pages of docs/ as HTML, and the way to the dashboard.
 * Leaves any other method to the receiver, and resolves to false.
 */
export async function answerPage(
  stack: Stack,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): Promise<boolean> {
  if (request.method !== "GET" && request.method !== "HEAD") return false;
  const url = URL.parse(request.url ?? "/", `http://${request.headers.host}`);
  const send = (status: number, type: string, body: string | Buffer) => {
    response.writeHead(status, {
      "content-type": `${type}; charset=utf-8`,
      "cache-control": "no-store",
      "content-security-policy": "default-src 'self' 'unsafe-inline'; connect-src 'self' http://127.0.0.1:*",
      "x-content-type-options": "nosniff",
    });
    response.end(body);
    return true;
  };
  // A name that leads here by somebody else's DNS would make this page readable from a page of theirs.
  if (!url || !isLocalHost(url.hostname)) return send(403, "text/plain", "Only from this machine.\n");
  if (url.pathname === "/") {
    return send(200, "text/html", await readFile(path.join(import.meta.dirname, "page.html")));
  }
  if (url.pathname === "/stack.json") {
    const { tick } = stack;
    const shown = { ...stack, tick: tick && { ...tick, evidence: await tick.evidence } };
    return send(200, "application/json", JSON.stringify(shown));
  }
  if (url.pathname === "/favicon.ico") return send(200, "image/svg+xml", icon);
  const page = await docsPage(url.pathname);
  if (page) return send(200, page.type, page.body);
  if (url.pathname === "/d/veza-ledger") {
    response.writeHead(302, { location: (stack.links.Grafana ?? "/") + url.search }).end();
    return true;
  }
  return send(404, "text/plain", "There is nothing here.\n");
}
