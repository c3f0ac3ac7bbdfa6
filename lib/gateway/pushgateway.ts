import { type Series, series } from "./exposition.ts";
import { fetchFailure } from "./fetch-failure.ts";

/** A Pushgateway, or another server with its API: base URL without credentials, and headers that carry them. */
export interface PushgatewayTarget {
  url: string;
  headers?: { authorization: string };
}

/** The job of what the sampler measures. Rules, dashboard and demo select by these jobs, too. */
export const ledgerJob = "veza_ledger";
/** The job of the totals of the reconciler's events. */
export const reconcilerJob = "veza_reconciler";

/** The grouping key: the labels that a group of metrics is pushed under. */
export interface Group {
  job: string;
  stage: string | undefined;
}

/** Where a group is on the gateway. */
export const groupUrl = ({ url }: PushgatewayTarget, { job, stage }: Group): string =>
  `${url}/metrics/job/${job}${stage ? `/stage/${stage}` : ""}`;

/** The gateway answered, and the answer is a refusal. */
export class PushRefused extends Error {
  readonly status: number;
  constructor(status: number, reason: string) {
    super(`the Pushgateway answered ${status}${reason && `: ${reason}`}`);
    this.status = status;
  }
}

/** Whether another request may succeed: there was no answer, or it was 408, 429 or a 5xx other than 501. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof PushRefused)) return true;
  return [408, 429].includes(error.status) || (error.status >= 500 && error.status !== 501);
}

/**
 * Replaces a group with these metrics, in the text format: PUT, so that no series of an earlier push stays. One
 * attempt, with fetch: prom-client's own Pushgateway class can wait for ever, and takes a redirect for success.
 *
 * Resolves when the gateway has answered 2xx. Rejects with PushRefused when it answers anything else, and with an Error
 * when it is unreachable, redirects, or `deadline` aborts. The request is over by then.
 */
export async function push(gateway: PushgatewayTarget, group: Group, metrics: string, deadline: AbortSignal) {
  const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8", ...gateway.headers };
  const options: RequestInit = { method: "PUT", redirect: "error", headers, body: metrics, signal: deadline };
  let text = "";
  const { ok, status } = await request(
    groupUrl(gateway, group),
    options,
    "the push to the Pushgateway failed",
    (piece) => {
      text += piece.toString();
      if (text.length > 16 * 1024) throw new Error("the answer is too long");
    },
  );
  const reason = withoutCredentials(text, gateway).slice(0, 200).replaceAll(/\s+/g, " ").trim();
  if (!ok) throw new PushRefused(status, reason);
}

/** An answer without the credentials that were sent: a proxy may repeat a request's headers in its error page. */
function withoutCredentials(text: string, { headers }: PushgatewayTarget): string {
  const [, credentials] = headers?.authorization.split(" ") ?? [];
  return credentials ? text.replaceAll(credentials, "…") : text;
}

/**
 * Reads what the gateway shows of a group: the series that were pushed, with their own labels. There are none on
 * VictoriaMetrics. There are none either where the page is refused or is at another address; then `unread` says so.
 * Rejects when another attempt may get the page: on a 5xx, 408 or 429, when it breaks off, or when `deadline` aborts.
 */
export async function readGroup(gateway: PushgatewayTarget, group: Group, deadline: AbortSignal) {
  const headers = { "accept-encoding": "identity", ...gateway.headers }; // To pack a page takes twice as long.
  const options: RequestInit = { redirect: "manual", headers, signal: deadline };
  const { shown, take } = collectGroup(group);
  const answer = await request(`${gateway.url}/metrics`, options, "/metrics of the gateway", take);
  if (answer.ok) return { shown, unread: "" };
  const refused = new PushRefused(answer.status, "no /metrics");
  if (isTransient(refused)) throw refused;
  return { shown: [], unread: refused.message };
}

/**
 * Takes a page of the gateway in pieces, cut anywhere, and collects a group's series in `shown`. Keeps at most one line
 * of the page, whatever its size.
 */
export function collectGroup({ job, stage }: Group) {
  const shown: Series[] = [];
  let rest = Buffer.alloc(0);
  const take = (piece: Buffer) => {
    let start = 0;
    for (let end = piece.indexOf("\n"); end >= 0; end = piece.indexOf("\n", start)) {
      const mayBeOurs = rest.length > 0 || piece[start] === 118; // A "v". Memory is spared when few lines become text.
      const line = mayBeOurs && Buffer.concat([rest, piece.subarray(start, end)]).toString();
      if (line) shown.push(...parseLine(line, job, stage));
      rest = Buffer.alloc(0);
      start = end + 1;
    }
    const room = 4_096 - rest.length; // None of ours is longer.
    rest = Buffer.concat([rest, piece.subarray(start, start + room)]);
  };
  return { shown, take };
}

/** The series on a line of a page, with its own labels, if it is of this group. */
function parseLine(line: string, job: string, stage: string | undefined): Series[] {
  const [, name = "", pairs = "", value] = /^(veza_\w+){(.*)} (\S+)$/s.exec(line) ?? [];
  const found = [...pairs.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, label = ""]) => [
    key,
    unescapeLabel(label),
  ]);
  const { job: itsJob, stage: itsStage, instance, ...labels } = Object.fromEntries(found);
  return itsJob === job && itsStage === stage && !instance ? [series(name, labels, Number(value))] : [];
}

/** A label's value, without the three escapes of the text format. */
const unescapeLabel = (label: string): string =>
  label.replaceAll(/\\([\\"n])/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));

/** Sends a request, and hands the answer's text over in pieces. Rejects when the answer breaks off. */
async function request(url: string, options: RequestInit, what: string, take: (piece: Buffer) => void) {
  try {
    const answer = await fetch(url, options);
    for await (const { buffer, byteOffset, length } of answer.body ?? []) take(Buffer.from(buffer, byteOffset, length));
    return answer;
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason;
    throw new Error(`${what}: ${fetchFailure(error)}`, { cause: error });
  }
}
