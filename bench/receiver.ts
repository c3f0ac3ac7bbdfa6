import { once } from "node:events";
import type { Context, LambdaFunctionURLEvent } from "aws-lambda";
import { signedHeaders } from "../commands/deliver.ts";
import { demoSecret } from "../commands/demo-receiver.ts";
import { handler } from "../handlers/receiver.ts";
import { sendAll } from "./senders.ts";

/** A process' load: how many senders it has, what each posts, and how often. It warms up with half as many. */
export interface Load {
  senders: number;
  events: number;
  timesEach: number;
}

// A process of bench:deliveries. It is told its load, and calls the receiver's handler as Lambda's runtime does, with
// requests that are signed beforehand: to warm up, and when it is told to go.
const [{ senders, events, timesEach }] = (await once(process, "message")) as [Load];
const event = { type: "reconciler.orphan_refund", timestamp: new Date().toISOString() };
const body = JSON.stringify(Array(events).fill(event));
const requests = Array.from({ length: senders * timesEach * 1.5 }, (_, index) => {
  const headers = signedHeaders(demoSecret, `msg_${process.pid}_${index}`, new Date(), body);
  return { headers, body, requestContext: { http: { method: "POST" } } } as unknown as LambdaFunctionURLEvent;
});
let published = 0;
const deliver = async () => {
  const answer = await handler(requests.pop() as LambdaFunctionURLEvent, {} as Context, () => {});
  const text = (answer as { body: string }).body;
  if (!text.startsWith('{"status":"recorded"')) throw new Error(`the receiver answered ${text}`);
  if (text.includes('"published":true')) published += 1;
};
await sendAll(senders, timesEach / 2, deliver);
process.send?.("warm");
await once(process, "message");
published = 0;
await sendAll(senders, timesEach, deliver);
process.send?.(published);
