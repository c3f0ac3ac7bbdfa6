// Stands in for Lambda's runtime: loads the handler that the environment names, asks for one event after the other, and
// posts what became of it. It writes the log in Lambda's JSON format. Nothing but the handler keeps this process alive
// while it works on an event. Left out: log levels, extensions, tracing, streams.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";
import { format } from "node:util";

const { RUNTIME_URL = "", LAMBDA_TASK_ROOT = "", _HANDLER = "" } = process.env;
let requestId: string | undefined;

/** An error as Lambda writes it. */
const describe = ({ name, message, stack = "" }: Error) => ({
  errorType: name,
  errorMessage: message,
  stackTrace: stack.split("\n"),
});

for (const method of ["info", "warn", "error"] as const) {
  const level = method.toUpperCase();
  console[method] = (...values: unknown[]) => {
    const [first] = values;
    const shown = values.length === 1 && typeof first !== "string" ? first : format(...values);
    const message = first instanceof Error ? describe(first) : shown;
    process.stdout.write(`${JSON.stringify({ timestamp: new Date().toISOString(), level, requestId, message })}\n`);
  };
}

/** A request to the other side, without a connection that stays open. */
async function call(method: string, body = ""): Promise<string> {
  const request = http.request(RUNTIME_URL, { method, agent: false }).end(body);
  const [answer] = (await once(request, "response")) as [http.IncomingMessage];
  return await text(answer);
}

const [, file, name = ""] = /^(.*)\.(\w+)$/.exec(_HANDLER) ?? [];
const { [name]: handler } = await import(path.join(LAMBDA_TASK_ROOT, `${file}.mjs`));
for (;;) {
  const event = JSON.parse(await call("GET"));
  requestId = randomUUID();
  const outcome = await handler(event, { awsRequestId: requestId }).then(
    (result: unknown) => ({ result }),
    (error: Error) => {
      console.error(error);
      return { error: describe(error) };
    },
  );
  // What the handler has closed is gone after a few turns of the event loop.
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
  const open = process.getActiveResourcesInfo().filter((resource) => resource !== "PipeWrap"); // Its own output.
  const maxMemoryMib = process.resourceUsage().maxRSS / 1024;
  await call("POST", JSON.stringify({ ...outcome, open, maxMemoryMib }));
}
