import { once } from "node:events";

// Stands in for Lambda's runtime: loads the handler that argv names, calls it with the event from standard input, and
// prints what it returned. Left out: freezing, time-out, memory limit.
const [, , file = ""] = process.argv;
let event = "";
process.stdin.on("data", (chunk) => {
  event += chunk;
});
await once(process.stdin, "end");
const { handler } = await import(file);
const result = await handler(JSON.parse(event), {});
console.log(`result ${JSON.stringify(result ?? null)}`);
// Lambda does not wait for timers and sockets either.
process.exit();
