import type { Registry } from "prom-client";
import { fetchFailure } from "./log.ts";

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
 * `confirm` is awaited when an attempt is about to send the body, since the process may be stopped for any time before.
 *
 * Rejects with PushRefused when the gateway says no, and with an Error when it cannot be reached, redirects, is not
 * done in time, `confirm` rejects, or `deadline` aborts. By then this side has ended its request.
 */
export async function push(
  gateway: PushgatewayTarget,
  group: Group,
  registry: Registry,
  deadline: AbortSignal,
  confirm?: () => Promise<void>,
): Promise<void> {
  const body = Buffer.from(await registry.metrics());
  const attempt = () => put(gateway, group, body, deadline, confirm);
  try {
    await attempt();
  } catch (error) {
    if (deadline.aborted || (error instanceof PushRefused && error.status < 500)) throw error;
    await attempt();
  }
}

/** fetch, since prom-client's own Pushgateway class can wait for ever and takes a redirect for success. */
async function put(
  gateway: PushgatewayTarget,
  group: Group,
  body: Buffer,
  deadline: AbortSignal,
  confirm?: () => Promise<void>,
): Promise<void> {
  const attempt = AbortSignal.timeout(attemptTimeoutMs);
  /** Asked for the body once the connection is there. When it throws the request is incomplete, and a gateway takes nothing. */
  async function* confirmed(confirm: () => Promise<void>) {
    await confirm();
    yield body;
  }
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(groupUrl(gateway, group), {
      method: "PUT",
      redirect: "error",
      headers: {
        "content-type": "text/plain; version=0.0.4; charset=utf-8",
        "content-length": String(body.length),
        ...(gateway.authorization && { authorization: gateway.authorization }),
      },
      // A stream only where it has to be one: some releases of undici cannot read a 401 to a streamed request.
      body: confirm ? ReadableStream.from(confirmed(confirm)) : body,
      duplex: "half",
      signal: AbortSignal.any([attempt, deadline]),
    });
    text = await readAnswer(answer);
  } catch (error) {
    if (deadline.aborted) throw deadline.reason;
    const reason = attempt.aborted ? `no answer within ${attemptTimeoutMs} ms` : fetchFailure(error);
    throw new Error(`the push failed: ${reason}`);
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
