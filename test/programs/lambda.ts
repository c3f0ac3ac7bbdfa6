import { once } from "node:events";
import http from "node:http";
import path from "node:path";
import { format } from "node:util";

// The client side of Lambda's runtime: loads the handler that the environment names, asks for one event after the
// other, and posts each result (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). It writes the log in
// Lambda's JSON format. Nothing but the handler keeps this process alive while it works on an event. With each result,
// it sends what the handler has left open, and the most memory that this process has had. Left out: log levels,
// extensions, tracing, streams.
const { AWS_LAMBDA_RUNTIME_API, LAMBDA_TASK_ROOT = "", _HANDLER = "" } = process.env;
let requestId: string | undefined;

/** An error as Lambda writes it. */
const describe = ({ name, message, stack = "" }: Error) => ({
  errorType: name,
  errorMessage: message,
  stackTrace: stack.split("\n"),
});

for (const [method, level] of [
  ...([
    ["debug", "DEBUG"],
    ["log", "INFO"],
    ["info", "INFO"],
  ] as const),
  ...([
    ["warn", "WARN"],
    ["error", "ERROR"],
  ] as const),
] as const) {
  console[method] = (...values: unknown[]) => {
    const [first] = values;
    const text = values.length === 1 && typeof first !== "string" ? first : format(...values);
    const message = first instanceof Error ? describe(first) : text;
    process.stdout.write(`${JSON.stringify({ timestamp: new Date().toISOString(), level, requestId, message })}\n`);
  };
}

async function call(method: string, endpoint: string, body = "", headers: http.OutgoingHttpHeaders = {}) {
  const url = `http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/${endpoint}`;
  const request = http.request(url, { method, headers, agent: false }).end(body);
  const [answer] = (await once(request, "response")) as [http.IncomingMessage];
  let text = "";
  for await (const chunk of answer) text += chunk;
  return { headers: answer.headers, text };
}

async function load(): Promise<(event: unknown, context: object) => Promise<unknown>> {
  const [, file, name = ""] = /^(.*)\.(\w+)$/.exec(_HANDLER) ?? [];
  const module = await import(path.join(LAMBDA_TASK_ROOT, `${file}.mjs`));
  if (typeof module[name] !== "function") throw new TypeError(`${_HANDLER} is not a function`);
  return module[name];
}

async function serve() {
  const handler = await load().catch(async (error) => {
    console.error(error);
    await call("POST", "init/error", JSON.stringify(describe(error)));
    process.exit(1);
  });
  for (;;) {
    const { headers, text } = await call("GET", "invocation/next");
    requestId = String(headers["lambda-runtime-aws-request-id"]);
    const context = {
      awsRequestId: requestId,
      getRemainingTimeInMillis: () => Number(headers["lambda-runtime-deadline-ms"]) - Date.now(),
    };
    const [outcome, body] = await handler(JSON.parse(text), context).then(
      (result) => ["response", result ?? null] as const,
      (error) => {
        console.error(error);
        return ["error", describe(error)] as const;
      },
    );
    // What the handler has closed is gone after a few turns of the event loop.
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
    await call("POST", `invocation/${requestId}/${outcome}`, JSON.stringify(body), {
      "x-open": process.getActiveResourcesInfo().join(),
      "x-max-memory-kib": process.resourceUsage().maxRSS,
    });
  }
}

serve();
