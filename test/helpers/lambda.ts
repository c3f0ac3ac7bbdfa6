import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import path from "node:path";
import { createInterface } from "node:readline";
import { json } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import { signedHeaders } from "../../commands/deliver.ts";
import type { FunctionName } from "../../lib/settings/settings.ts";
import { functionIn, type Packaged, unzip } from "./packages.ts";
import { projectFolder } from "./processes.ts";
import { httpServer } from "./servers.ts";

/** What became of one invocation: the handler's result, or an error. */
export interface Invocation {
  result?: unknown;
  error?: { errorType: string; errorMessage: string };
  /** Of the process that worked on it. */
  pid: number;
  /** Its log, line by line as it was written. */
  log: string[];
  /** What would have kept the process alive when the handler had answered, by Node's names. */
  open: string[];
  /** The most memory that the process has had so far. */
  maxMemoryMib: number;
}

export const orphanRefund = () => ({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });

/** The smallest event that the receiver takes, with a body signed at `atMs`. */
export function signedEvent(
  secret: string,
  content: unknown = orphanRefund(),
  { id = `msg_${randomUUID()}`, atMs = Date.now() } = {},
) {
  const body = typeof content === "string" ? content : JSON.stringify(content);
  const { "content-type": _, ...headers } = signedHeaders(secret, id, new Date(atMs), body);
  return { requestContext: { http: { method: "POST" } }, headers, body };
}

/**
 * Stands in for AWS Lambda: it unpacks a function's archive, and runs it in a process of its own. The handler, the
 * environment and the time-out are the template's. Gone with the test.
 *
 * It leaves out: concurrent invocations, the throttled processor, the network, roles, /var/runtime with Amazon's roots,
 * and the retries of events. It measures memory, and does not end a process that needs too much.
 */
export async function startLambda(
  packaged: Packaged,
  name: FunctionName,
  environment: Record<string, string | undefined> = {},
) {
  const { Handler, Timeout, Environment } = functionIn(packaged, name);
  const root = await unzip(packaged, name);
  const awsUrl = process.env.AWS_ENDPOINT_URL;

  let child: ChildProcess | undefined;
  let log: string[] = [];
  /** The event that is not answered yet. */
  let event: { body: string; settle: (outcome: Partial<Invocation>) => void } | undefined;
  /** The process that waits for an event. */
  let waiting: ServerResponse | undefined;

  const hand = () => {
    if (!event || !waiting) return;
    waiting.end(event.body);
    waiting = undefined;
  };
  const RUNTIME_URL = await httpServer(async (request, response) => {
    if (request.method === "GET") {
      waiting = response;
      return hand();
    }
    const outcome = (await json(request)) as Partial<Invocation>;
    child?.kill("SIGSTOP"); // Frozen from here on, as between two events on Lambda.
    response.end();
    event?.settle(outcome);
  });

  const start = () => {
    const started = spawn(process.execPath, [path.join(projectFolder, "test/programs/lambda.ts")], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...Environment.Variables,
        NODE_EXTRA_CA_CERTS: undefined, // A file that only Lambda has.
        PATH: process.env.PATH,
        TZ: ":UTC",
        RUNTIME_URL,
        AWS_LAMBDA_LOG_FORMAT: "JSON",
        AWS_LAMBDA_FUNCTION_NAME: name,
        LAMBDA_TASK_ROOT: root,
        _HANDLER: Handler,
        AWS_ENDPOINT_URL: awsUrl,
        AWS_REGION: "eu-central-1",
        AWS_ACCESS_KEY_ID: "test",
        AWS_SECRET_ACCESS_KEY: "test",
        ...environment,
      },
    });
    for (const input of [started.stdout, started.stderr]) {
      createInterface({ input }).on("line", (line) => log.push(line));
    }
    started.once("close", (code, signal) => {
      child = waiting = undefined;
      const errorMessage = `the process has ended with ${code ?? signal}`;
      event?.settle({ error: { errorType: "Runtime.ExitError", errorMessage } });
    });
    child = started;
    return started;
  };
  onTestFinished(async () => {
    if (child?.kill("SIGKILL")) await once(child, "close");
  });

  /** Sends one event. Thaws the process that the last one has left, or starts one; freezes it with the answer. */
  async function invoke(payload: object): Promise<Invocation> {
    const worker = child ?? start();
    log = [];
    const answered = new Promise<Partial<Invocation>>((settle) => {
      event = { body: JSON.stringify(payload), settle };
    });
    worker.kill("SIGCONT");
    hand();
    const timer = setTimeout(() => worker.kill("SIGKILL"), Timeout * 1000);
    const outcome = await answered;
    clearTimeout(timer);
    event = undefined;
    return { pid: worker.pid ?? 0, log, open: [], maxMemoryMib: 0, ...outcome };
  }

  return { invoke, /** It works on an event now, or is frozen. */ process: () => child };
}
