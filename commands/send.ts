import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { parseEvents } from "../lib/events.ts";
import { readSecrets } from "../lib/kept-secrets.ts";
import { fetchFailure } from "../lib/log.ts";
import { parseWebhookSecrets } from "../lib/settings.ts";
import { plainId } from "../lib/signature.ts";
import { command, Misuse, type Out, start } from "./command.ts";
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
  -                    the same, from standard input; so does --file -

  --id <id>            the delivery's id: sending the same events again under
                       it counts nothing twice
  --retry              sends again for up to 10 minutes while the receiver
                       cannot confirm
  --dry-run            checks URL, secret, id and events, and sends nothing
  -h, --help           prints this

RECEIVER_URL names the receiver, and WEBHOOK_SECRET is its secret; or SECRET_ID
names the secret in AWS Secrets Manager that holds WEBHOOK_SECRET. Without them
the delivery goes to the stack that \`npm start\` runs.

exit code  0  counted, now or before; or checked, with --dry-run
           1  refused, and not counted: the answer says why. After a 401, 403,
              404 or 405, fix the secret, clock or URL, and send it again with
              the same id
           2  nothing was sent: the call or a setting is wrong
           3  not confirmed: send it again with the same id`;

const options = {
  id: { type: "string" },
  file: { type: "string" },
  retry: { type: "boolean", default: false },
  "dry-run": { type: "boolean", default: false },
} as const;
const exitCodes = { counted: 0, refused: 1, wrong: 2, unconfirmed: 3 } as const;
const retryForMs = 10 * 60_000;
const firstWaitMs = 5_000;
const longestWaitMs = 60_000;

interface Delivery {
  url: string;
  secret: string;
  id: string;
  body: string;
}

/** Posts the delivery that the arguments describe, to the receiver and with the secret that the settings name. */
export const run = command(usage, options, async (values, positionals, out) => {
  const { file, id = `msg_${randomUUID()}`, retry } = values;
  const body = await readBody(file, positionals, id).catch(({ message }) => {
    throw new Misuse(message);
  });
  const problems: string[] = [];
  const destination = await readDestination(problems, out);
  if (problems.length > 0) {
    out.error(`${problems.join("; ")}.`);
    return exitCodes.wrong;
  }
  const delivery = { ...destination, id, body };
  return values["dry-run"] ? check(delivery, out) : await send(delivery, retry, out);
});

async function readBody(file: string | undefined, positionals: string[], id: string): Promise<string> {
  plainId(id);
  if (file !== undefined && positionals.length > 0) throw new Error("either --file or an event");
  if (file === "-" || positionals.join(" ") === "-") return await text(process.stdin);
  return file === undefined ? bodyOf(positionals) : await readFile(file, "utf8");
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

/** Reads the settings. Adds to `problems` what is wrong with them, without their values. */
async function readDestination(problems: string[], { error }: Out): Promise<{ url: string; secret: string }> {
  const { RECEIVER_URL, SECRET_ID } = process.env;
  if (SECRET_ID && !RECEIVER_URL) {
    problems.push("RECEIVER_URL is missing: SECRET_ID is not for the stack that npm start runs");
  }
  const url = RECEIVER_URL || `http://127.0.0.1:${receiverPort}/`;
  const parsed = URL.parse(url);
  if (!parsed || !/^https?:$/.test(parsed.protocol)) problems.push("RECEIVER_URL must begin with https:// or http://");
  if (parsed?.username || parsed?.password) {
    problems.push("RECEIVER_URL must not have a user or a password: deliveries are signed");
  }
  if (problems.length > 0) return { url, secret: "" };
  const secrets = SECRET_ID
    ? await readSecrets(SECRET_ID, true).catch(({ message }) => void problems.push(message))
    : { WEBHOOK_SECRET: demoSecret };
  if (!secrets) return { url, secret: "" };
  const WEBHOOK_SECRET = process.env.WEBHOOK_SECRET || secrets.WEBHOOK_SECRET;
  const [secret = ""] = parseWebhookSecrets({ WEBHOOK_SECRET }, problems);
  if (WEBHOOK_SECRET !== WEBHOOK_SECRET?.trim()) {
    error("WEBHOOK_SECRET has a space or a newline around it. It is left out here; not every sender does that.");
  }
  return { url, secret };
}

/** Checks the events by the receiver's own rules. */
function check({ url, id, body }: Delivery, { log }: Out): number {
  try {
    const count = parseEvents(body).length;
    log(`Nothing was sent. It would post ${count} event${count === 1 ? "" : "s"} to ${url} (id ${id})`);
    return exitCodes.counted;
  } catch (error) {
    log(`Nothing was sent. It would be refused: ${(error as Error).message}`);
    return exitCodes.refused;
  }
}

async function send(delivery: Delivery, retry: boolean, { log }: Out): Promise<number> {
  const until = Date.now() + retryForMs;
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
    const { outcome, text } = await attempt(delivery);
    log(text);
    if (outcome !== "unconfirmed") return exitCodes[outcome];
    if (!retry || Date.now() + waitMs > until) {
      log(`Send it again with the same events and --id ${delivery.id}, or with --retry: it is counted once.`);
      return exitCodes[outcome];
    }
    log(`Again in ${waitMs / 1000} s, with the same id.`);
    await sleep(waitMs);
  }
}

/** Posts the delivery once. */
async function attempt({
  url,
  secret,
  id,
  body,
}: Delivery): Promise<{ outcome: "counted" | "refused" | "unconfirmed"; text: string }> {
  try {
    const { status, answer } = await deliver(url, secret, id, body);
    const counted = status === 200 && describe(answer, id);
    if (counted) return { outcome: "counted", text: counted };
    if (status >= 400 && status < 500 && status !== 429) {
      const advice = status === 409 ? "\nIts events are not counted. Send them under another id." : "";
      return { outcome: "refused", text: `Refused: ${status} ${answer}${advice}` };
    }
    return { outcome: "unconfirmed", text: `Not confirmed: ${status} ${answer.slice(0, 500)}` };
  } catch (error) {
    const advice = process.env.RECEIVER_URL ? "" : " Run npm start first, or set RECEIVER_URL.";
    return { outcome: "unconfirmed", text: `No answer from ${url}: ${fetchFailure(error)}.${advice}` };
  }
}

/** Says what became of a delivery. Returns undefined when the answer is not a receiver's. */
function describe(answer: string, id: string): string | undefined {
  try {
    const { status, published, stage } = JSON.parse(answer);
    if (status !== "recorded" && status !== "duplicate") return undefined;
    const what = status === "recorded" ? "Recorded." : "Duplicate, counted once.";
    const how = published ? "It is on the gateway." : "Another call or the next tick publishes it.";
    return `${what} ${how} (id ${id}${stage ? `, stage ${stage}` : ""})`;
  } catch {
    return undefined;
  }
}

if (import.meta.main) await start(run);
