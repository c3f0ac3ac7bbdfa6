import type { Registry } from "prom-client";

/** A Pushgateway, or anything that speaks its API: base URL without credentials, and the Authorization header, if any. */
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

const attemptTimeoutMs = 3_000;
const maxAnswerBytes = 16 * 1024;

/**
 * Replaces the group `job` (and `stage`) by what the registry holds: PUT, so that no series of an earlier push stays.
 * Tries once more on a network error or a 5xx; each attempt has 3 s. Resolves only when the gateway has answered 2xx.
 *
 * Rejects with PushRefused when the gateway says no, and with an Error when it cannot be reached, redirects, is not
 * done in time, or `signal` aborts. By then this side has ended its request.
 */
export async function push(
  gateway: PushgatewayTarget,
  group: Group,
  registry: Registry,
  signal: AbortSignal,
): Promise<void> {
  const url = groupUrl(gateway, group);
  const body = await registry.metrics();
  try {
    await put(url, gateway, body, signal);
  } catch (error) {
    if (signal.aborted || (error instanceof PushRefused && error.status < 500)) throw error;
    await put(url, gateway, body, signal);
  }
}

/** fetch, since prom-client's own Pushgateway class can wait for ever and takes a redirect for success. */
async function put(url: string, gateway: PushgatewayTarget, body: string, signal: AbortSignal): Promise<void> {
  const timeout = AbortSignal.timeout(attemptTimeoutMs);
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(url, {
      method: "PUT",
      redirect: "error",
      headers: {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
        ...(gateway.authorization && { authorization: gateway.authorization }),
      },
      body,
      signal: AbortSignal.any([timeout, signal]),
    });
    text = await readAnswer(answer);
  } catch (error) {
    throw signal.aborted ? signal.reason : new Error(`the push failed: ${reasonOf(error, timeout)}`);
  }
  if (!answer.ok) throw new PushRefused(answer.status, text.slice(0, 200).replaceAll(/\s+/g, " ").trim());
}

/** Reads the answer to its end: one that breaks off is a failed push. */
async function readAnswer(answer: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > maxAnswerBytes) throw new Error("the answer is too long");
  }
  return text;
}

function reasonOf(error: unknown, timeout: AbortSignal): string {
  if (timeout.aborted) return `no answer within ${attemptTimeoutMs} ms`;
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message;
}
