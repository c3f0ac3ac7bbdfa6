import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type http from "node:http";
import path from "node:path";
import { onTestFinished } from "vitest";
import { signedHeaders } from "../../commands/deliver.ts";
import { type FunctionName, functionIn, type Packaged, unzip } from "./packages.ts";
import { projectFolder } from "./processes.ts";
import { httpServer } from "./servers.ts";

/** What became of one invocation: the handler's result, or Lambda's error. */
export interface Invocation {
  result?: unknown;
  error?: { errorType: string; errorMessage: string };
  /** Of the process that worked on it. */
  pid: number;
  /** Whether that process was started for it. */
  isCold: boolean;
  /** Its log, line by line as it was written. */
  log: string[];
  /** What would have kept the process alive when the handler had answered, by Node's names. */
  open: string[];
  /** The most memory that the process has had so far. */
  maxMemoryMib: number;
}

export interface Lambda {
  memoryMib: number;
  /** Sends one event. Thaws the process that the last one has left, or starts one; freezes it with the answer. */
  invoke(event: object): Promise<Invocation>;
  /** The process that works on an event now, or is frozen. */
  process(): ChildProcess | undefined;
}

export const orphanRefund = () => ({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });

/** The smallest event that the receiver takes, with a body signed at `atMs`; `changes` replace right headers. */
export function signedEvent(
  secret: string,
  content: unknown = orphanRefund(),
  { id = `msg_${randomUUID()}`, atMs = Date.now(), headers: changes = {} } = {},
) {
  const body = typeof content === "string" ? content : JSON.stringify(content);
  const { "content-type": _, ...headers } = signedHeaders(secret, id, new Date(atMs), body);
  return { requestContext: { http: { method: "POST" } }, headers: { ...headers, ...changes }, body };
}

/**
 * Stands in for AWS Lambda: it unpacks a function's archive, and runs it in a process of its own. The handler, the
 * environment, the time-out and the memory size are the template's. Gone with the test.
 *
 * It leaves out: concurrent invocations, the throttled processor, the network, roles, /var/runtime with Amazon's roots,
 * and the retries of events. It measures memory, and does not end a process that needs too much.
 */
export async function startLambda(
  packaged: Packaged,
  name: FunctionName,
  environment: Record<string, string | undefined> = {},
  { timeoutMs = 0 } = {},
): Promise<Lambda> {
  const { Handler, Timeout, MemorySize, Environment } = functionIn(packaged, name);
  const limitMs = timeoutMs || Timeout * 1000;
  const root = await unzip(packaged, name);
  const awsUrl = process.env.AWS_ENDPOINT_URL;

  let child: ChildProcess | undefined;
  let log: string[] = [];
  /** The event that is not answered yet. */
  let event: { id: string; body: string; settle: (outcome: Partial<Invocation>) => void } | undefined;
  /** The process that waits for an event. */
  let waiting: http.ServerResponse | undefined;
  let timer: NodeJS.Timeout | undefined;

  const hand = () => {
    if (!event || !waiting) return;
    waiting.setHeader("lambda-runtime-aws-request-id", event.id);
    waiting.setHeader("lambda-runtime-deadline-ms", Date.now() + limitMs);
    waiting.end(event.body);
    waiting = undefined;
    timer = setTimeout(async () => {
      const errorMessage = `Task timed out after ${(limitMs / 1000).toFixed(2)} seconds`;
      const { settle } = event ?? {};
      await kill();
      settle?.({ error: { errorType: "Sandbox.Timedout", errorMessage } });
    }, limitMs);
  };

  const api = await httpServer(async (request, response) => {
    const endpoint = request.url?.split("/").at(-1);
    if (endpoint === "next") {
      waiting = response;
      return hand();
    }
    let text = "";
    for await (const chunk of request) text += chunk;
    // Without its own output.
    const open = String(request.headers["x-open"] ?? "")
      .split(",")
      .filter((resource) => resource && resource !== "PipeWrap");
    const maxMemoryMib = Number(request.headers["x-max-memory-kib"]) / 1024;
    const body = JSON.parse(text);
    // Frozen from here on, as between two events on Lambda. A process that could not start is replaced.
    if (request.url?.endsWith("/init/error")) await kill();
    else child?.kill("SIGSTOP");
    response.writeHead(202).end();
    event?.settle({ ...(endpoint === "response" ? { result: body } : { error: body }), open, maxMemoryMib });
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
        AWS_LAMBDA_RUNTIME_API: api.replace("http://", ""),
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
    for (const stream of [started.stdout, started.stderr]) {
      let rest = "";
      stream.on("data", (chunk) => {
        const lines = `${rest}${chunk}`.split("\n");
        rest = lines.pop() ?? "";
        log.push(...lines);
      });
    }
    started.once("close", (code, signal) => {
      if (child !== started) return;
      child = waiting = undefined;
      const errorMessage = `the process has ended with ${code ?? signal}`;
      event?.settle({ error: { errorType: "Runtime.ExitError", errorMessage } });
    });
    child = started;
    return started;
  };
  const kill = async () => {
    const killed = child;
    child = waiting = undefined;
    killed?.kill("SIGKILL");
    if (killed && killed.exitCode === null && killed.signalCode === null) await once(killed, "close");
    clearTimeout(timer);
  };
  onTestFinished(kill);

  async function invoke(payload: object): Promise<Invocation> {
    const isCold = !child;
    const worker = child ?? start();
    log = [];
    const answered = new Promise<Partial<Invocation>>((settle) => {
      event = { id: randomUUID(), body: JSON.stringify(payload), settle };
    });
    worker.kill("SIGCONT");
    hand();
    const outcome = await answered;
    clearTimeout(timer);
    event = undefined;
    return { pid: worker.pid ?? 0, isCold, log, open: [], maxMemoryMib: 0, ...outcome };
  }

  return { memoryMib: MemorySize, invoke, process: () => child };
}
