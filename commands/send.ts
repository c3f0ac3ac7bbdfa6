import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { fetchFailure } from "../lib/log.ts";
import { deliver } from "./deliver.ts";
import { demoSecret, receiverPort } from "./demo-receiver.ts";

// npm run send: signs one delivery, posts it, and prints the outcome.
const usage = `usage: npm run send -- <what> [--id <id>] [--retry]

  action <phase>       one repaired row; the phase is stuck_orders,
                       stuck_refunds or orphan_refunds
  orphan_refund        one orphan refund that was marked as failed
  sweep <seconds>      one sweep that has just ended
  ping                 no event: tries URL, secret, database and gateway, and
                       changes no number
  --file events.json   a body that you have, as it is

  --id <id>            the delivery's id: sending the same body again under it
                       counts nothing twice
  --retry              sends again for up to 10 minutes while the receiver
                       cannot confirm

RECEIVER_URL and WEBHOOK_SECRET say where to. Without them it goes to the stack
that \`npm start\` runs.`;

const options = { id: { type: "string" }, file: { type: "string" }, retry: { type: "boolean" } } as const;
const retryForMs = 10 * 60_000;
const firstWaitMs = 5_000;
const longestWaitMs = 60_000;

const { body, id, retry } = await readArguments();
const url = process.env.RECEIVER_URL || `http://127.0.0.1:${receiverPort}/`;
const [secret = demoSecret] = process.env.WEBHOOK_SECRET?.split(" ") ?? [];

const until = Date.now() + retryForMs;
for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
  const { isCounted, isFinal, text } = await attempt();
  console.log(text);
  process.exitCode = isCounted ? 0 : 1;
  if (isFinal) break;
  if (!retry || Date.now() + waitMs > until) {
    console.log(`Send it again with the same body and --id ${id}, or with --retry: it is counted once.`);
    break;
  }
  console.log(`Again in ${waitMs / 1000} s, with the same id.`);
  await sleep(waitMs);
}

/** Reads the delivery from the command line. Ends the process with a usage message when it makes no sense. */
async function readArguments(): Promise<{ body: string; id: string; retry: boolean }> {
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    const { file, id = `msg_${randomUUID()}`, retry = false } = values;
    if (file !== undefined && positionals.length > 0) throw new Error("either --file or an event");
    return { body: file === undefined ? bodyOf(positionals) : await readFile(file, "utf8"), id, retry };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

function bodyOf([kind = "", value, ...more]: string[]): string {
  const event = (data?: object) =>
    JSON.stringify({ type: `reconciler.${kind}`, timestamp: new Date().toISOString(), data });
  if (kind === "action" && value && more.length === 0) return event({ phase: value });
  if (kind === "sweep" && Number(value) >= 0 && more.length === 0) return event({ duration_seconds: Number(value) });
  if (kind === "orphan_refund" && value === undefined) return event();
  if (kind === "ping" && value === undefined) return "[]";
  throw new Error(kind ? `not understood: ${[kind, value, ...more].filter(Boolean).join(" ")}` : "nothing to send");
}

/** Posts the delivery once. `isFinal`: a retry cannot help, or is not needed. */
async function attempt(): Promise<{ isCounted: boolean; isFinal: boolean; text: string }> {
  try {
    const { status, answer } = await deliver(url, secret, id, body);
    if (status === 200) return { isCounted: true, isFinal: true, text: `${describe(JSON.parse(answer))} (id ${id})` };
    if (status === 409) {
      const text = `Recorded before, with another body: that one is counted, and this one is not. (id ${id})`;
      return { isCounted: true, isFinal: true, text };
    }
    const isFinal = status < 500 && status !== 429;
    return { isCounted: false, isFinal, text: `${isFinal ? "Refused" : "Not confirmed"}: ${status} ${answer}` };
  } catch (error) {
    const advice = process.env.RECEIVER_URL ? "" : " Run npm start first, or set RECEIVER_URL.";
    return { isCounted: false, isFinal: false, text: `No answer from ${url}: ${fetchFailure(error)}.${advice}` };
  }
}

function describe({ status, published }: { status: string; published: boolean }): string {
  const recorded = status === "duplicate" ? "Recorded before, and counts once." : "Recorded.";
  return `${recorded} ${published ? "It is on the gateway." : "Another call or the next tick publishes it."}`;
}
