import { fetchFailure } from "./log.ts";

/** A Pushgateway, or another server with its API: base URL without credentials, and the Authorization header. */
export interface PushgatewayTarget {
  url: string;
  authorization?: string;
}

/** The labels that a group of metrics is pushed under. */
export interface Group {
  job: string;
  stage: string | undefined;
}

/** Where a group is on the gateway. */
export function groupUrl(gateway: PushgatewayTarget, { job, stage }: Group): string {
  return `${gateway.url}/metrics/job/${job}${stage ? `/stage/${stage}` : ""}`;
}

/** The gateway answered, and the answer is a refusal. */
export class PushRefused extends Error {
  readonly status: number;
  constructor(status: number, reason: string) {
    super(`the Pushgateway answered ${status}${reason && `: ${reason}`}`);
    this.status = status;
  }
}

/** Whether the gateway would refuse another push as well: it answered, with less than 500. */
export function isRefusal(error: unknown): boolean {
  return error instanceof PushRefused && error.status < 500;
}

/**
 * Replaces a group by these metrics, in the text format: PUT, so that no series of an earlier push stays. One attempt,
 * by fetch: prom-client's own Pushgateway class can wait for ever, and takes a redirect for success.
 *
 * Resolves when the gateway has answered 2xx. Rejects with PushRefused when it answers anything else, and with an Error
 * when it is unreachable, redirects, or `deadline` aborts. The request is over by then.
 */
export async function push(
  gateway: PushgatewayTarget,
  group: Group,
  metrics: string,
  deadline: AbortSignal,
): Promise<void> {
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(groupUrl(gateway, group), {
      method: "PUT",
      redirect: "error",
      headers: {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
        ...(gateway.authorization && { authorization: gateway.authorization }),
      },
      body: metrics,
      signal: deadline,
    });
    text = await readAnswer(answer);
  } catch (error) {
    if (deadline.aborted) throw deadline.reason;
    throw new Error(`the push failed: ${fetchFailure(error)}`);
  }
  if (!answer.ok) throw new PushRefused(answer.status, text.slice(0, 200).replaceAll(/\s+/g, " ").trim());
}

/**
 * Reads what the gateway shows of a group: the series that were pushed, with their own labels. The page of
 * VictoriaMetrics has none. Rejects when there is no page, when the gateway cannot be reached, or shows over 8 MiB.
 */
export async function readGroup({ url, authorization }: PushgatewayTarget, { job, stage }: Group, signal: AbortSignal) {
  const headers = { ...(authorization && { authorization }) };
  const answer = await fetch(`${url}/metrics`, { headers, redirect: "error", signal });
  const page = await readAnswer(answer, 8 * 1024 * 1024);
  if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`);
  const lines = page.matchAll(new RegExp(`^(veza_\\w+){(.*\\bjob="${job}".*)} (\\S+)$`, "gm"));
  return [...lines].flatMap(([, name = "", pairs = "", value]) => {
    const found = [...pairs.matchAll(/(\w+)="(.*?)"/g)].map(([, key, label]) => [key, label]);
    const { job: _, stage: itsStage, instance, ...labels } = Object.fromEntries(found);
    return itsStage === stage && !instance ? [{ name, labels, value: Number(value) }] : [];
  });
}

/** Reads the answer to its end: a push whose answer breaks off has failed. */
async function readAnswer(answer: Response, maxBytes = 16 * 1024): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > maxBytes) throw new Error("the answer is too long");
  }
  return text;
}
