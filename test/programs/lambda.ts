// Stands in for Lambda's runtime: loads the handler that the environment names, asks for one event after the other, and
// posts what became of it. Nothing but the handler keeps this process alive while it works on an event. Left out: of a
// log line all but level and message, extensions, tracing and streams.
import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";

const { RUNTIME_URL = "", LAMBDA_TASK_ROOT = "", _HANDLER = "" } = process.env;

for (const method of ["info", "warn", "error"] as const) {
  console[method] = (message: unknown) => {
    process.stdout.write(`${JSON.stringify({ level: method.toUpperCase(), message })}\n`);
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
  const outcome = await handler(event, {}).then(
    (result: unknown) => ({ result }),
    ({ name, message }: Error) => ({ error: { errorType: name, errorMessage: message } }),
  );
  // What the handler has closed is gone after a few turns of the event loop.
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
  const open = process.getActiveResourcesInfo().filter((resource) => resource !== "PipeWrap"); // Its own output.
  const maxMemoryMib = process.resourceUsage().maxRSS / 1024;
  await call("POST", JSON.stringify({ ...outcome, open, maxMemoryMib }));
}
