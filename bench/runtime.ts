import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

/** What a process has used until now: its CPU time, counted in steps of 10 ms, and the most memory that it has had. */
export interface Used {
  cpuMs: number;
  MiB: number;
}

/** Asks for events and answers them as AWS' runtime client does, with nothing else of it. */
const ownClient = `
  const url = "http://" + process.env.AWS_LAMBDA_RUNTIME_API + "/2018-06-01/runtime/invocation/";
  const file = process.env._HANDLER.replace(/handler$/, "mjs");
  const { handler } = await import(process.env.LAMBDA_TASK_ROOT + "/" + file);
  for (;;) {
    const next = await fetch(url + "next");
    const body = JSON.stringify(await handler(await next.json(), {}));
    await fetch(url + next.headers.get("lambda-runtime-aws-request-id") + "/response", { method: "POST", body });
  }`;

const requiredVariables = {
  AWS_LAMBDA_FUNCTION_NAME: "bench",
  AWS_LAMBDA_FUNCTION_VERSION: "$LATEST",
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
  AWS_LAMBDA_LOG_GROUP_NAME: "bench",
  AWS_LAMBDA_LOG_STREAM_NAME: "bench",
};

/**
 * Runs the archive in `folder` as Lambda does, and stops it between two events. AWS' runtime client runs it if
 * RUNTIME_CLIENT is the path of its index.mjs. Resolves to what it has used when it asks for the first event, after the
 * first, and after the last. Throws with its log when an event fails.
 */
export async function runArchive(folder: string, handler: string, env: Record<string, string>, events: object[]) {
  let next = Promise.withResolvers<http.ServerResponse>();
  let answer = Promise.withResolvers<string>();
  const api = http.createServer(async (request, response) => {
    if (request.url?.endsWith("/next")) return next.resolve(response);
    const body = await text(request);
    response.writeHead(202).end();
    answer.resolve(request.url?.endsWith("/response") ? body : `{"failed":${body}}`);
  });
  await once(api.listen(0, "127.0.0.1"), "listening");

  const { RUNTIME_CLIENT } = process.env;
  const args = RUNTIME_CLIENT ? [RUNTIME_CLIENT, handler] : ["--input-type=module", "-e", ownClient];
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: {
      ...requiredVariables,
      AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${(api.address() as AddressInfo).port}`,
      LAMBDA_TASK_ROOT: folder,
      _HANDLER: handler,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  for (const output of [child.stdout, child.stderr]) {
    output.on("data", (chunk) => {
      log += chunk;
    });
  }
  const ended = once(child, "close").then(() => Promise.reject(new Error(`the runtime client has ended:\n${log}`)));
  ended.catch(() => {}); // In the end, it is killed.
  const used = (): Used => {
    const times = readFileSync(`/proc/${child.pid}/stat`, "utf8").replace(/.*\) /, "").split(" ").slice(11, 13);
    const peakKiB = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1];
    return { cpuMs: times.reduce((sum, ticks) => sum + 10 * Number(ticks), 0), MiB: Number(peakKiB) / 1024 };
  };

  try {
    const all: Used[] = [];
    for (const [index, event] of [...events.entries(), [events.length, {}] as const]) {
      const response = await Promise.race([next.promise, ended]);
      all.push(used());
      child.kill("SIGSTOP");
      if (index === events.length) break;
      if (index > 0) await sleep(500);
      next = Promise.withResolvers();
      answer = Promise.withResolvers();
      response.writeHead(200, {
        "content-type": "application/json",
        "lambda-runtime-aws-request-id": String(index),
        "lambda-runtime-deadline-ms": String(Date.now() + 25_000),
        "lambda-runtime-invoked-function-arn": "arn:aws:lambda:eu-central-1:123456789012:function:bench",
        "lambda-runtime-trace-id": "Root=1-0-0",
      });
      response.end(JSON.stringify(event));
      child.kill("SIGCONT");
      const { failed, statusCode = 200 } = JSON.parse(await Promise.race([answer.promise, ended]));
      if (failed || statusCode !== 200) throw new Error(log);
    }
    return all;
  } finally {
    child.kill("SIGKILL");
    api.close();
    api.closeAllConnections();
  }
}
