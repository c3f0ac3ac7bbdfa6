// The command send: signs one delivery, posts it, and prints the outcome.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fetchFailure } from "../lib/gateway/fetch-failure.ts";
import { fetchSecrets } from "../lib/settings/secrets.ts";
import { isLocalHost, parseWebhookSecrets, SettingsError } from "../lib/settings/settings.ts";
import { isStage, stageRule } from "../lib/settings/stage.ts";
import { stageHeader } from "../lib/totals/another-stage.ts";
import { phases } from "../lib/totals/events.ts";
import { plainId } from "../lib/totals/signature.ts";
import { receiverPort } from "./address.ts";
import { callOf, command, inArchive, Misuse, start } from "./command.ts";
import { deliver } from "./deliver.ts";
import { demoSecret } from "./demo-secret.ts";
import { shellWord, visibly } from "./quote.ts";

const usage = `usage: ${callOf("send")} <what> [--id <id>]

  action <phase>       one repaired row; the phase is one of
                       ${phases.join(", ")}
  orphan_refund        one orphan refund that was marked as failed
  sweep <seconds>      one sweep that has just ended
  ping                 no event: tries URL, secret, database and gateway, and
                       changes no number
  --file events.json   a body that you have, as it is

  --id <id>            the delivery's id: sending the same events again under
                       it counts nothing twice
  -h, --help           prints this

RECEIVER_URL names the receiver, and WEBHOOK_SECRET is its secret; or SECRET_ID
names the secret in AWS Secrets Manager that holds WEBHOOK_SECRET. With STAGE,
a receiver of another stage refuses the delivery.
${
  inArchive
    ? `RECEIVER_URL is http://127.0.0.1:${receiverPort}/ if it is not set.`
    : "Without them the delivery goes to the stack that `npm start` runs."
}

exit code  0  counted, now or before
           1  refused, and not counted: the answer says why. After a 401, 403,
              404 or 405, fix the secret, clock or URL, and send it again with
              the same id
           2  nothing was sent: the call or a setting is wrong
           3  not confirmed, or interrupted: send it again with the same id`;

const noReceiver = inArchive
  ? " Is the service running, and on this port? Otherwise, set RECEIVER_URL."
  : " Run npm start first, or set RECEIVER_URL.";
const options = { id: { type: "string" }, file: { type: "string" } } as const;
const exitCodes = { counted: 0, refused: 1, wrong: 2, unconfirmed: 3 } as const;

/** What became of a delivery, and the words for it. */
type Outcome = [outcome: keyof typeof exitCodes, text: string];

/** Posts the delivery that the arguments describe, to the receiver and with the secret that the settings name. */
export const run = command(usage, options, async ({ file, id = `msg_${randomUUID()}` }, positionals, out) => {
  const body = await readBody(file, positionals, id).catch(({ message }) => {
    throw new Misuse(message);
  });
  const destination = await readDestination().catch(({ message }) => void out.error(`${message}.`));
  if (!destination) return exitCodes.wrong;
  const what = file === undefined ? positionals : ["--file", file];
  // Before it is sent: after an interrupt, the same delivery is sent again under this id.
  out.log(`Sending ${id} to ${visibly(destination.url)}. To send the same again:`);
  out.log(`  ${callOf("send")} ${[...what, "--id", id].map(shellWord).join(" ")}`);
  const [outcome, text] = await send(destination, id, body);
  out.log(text);
  return exitCodes[outcome];
});

async function readBody(file: string | undefined, positionals: string[], id: string): Promise<string> {
  plainId(id);
  if (file !== undefined && positionals.length > 0) throw new Error("either --file or an event");
  return file === undefined ? bodyOf(positionals) : await readFile(file, "utf8");
}

function bodyOf(args: string[]): string {
  const [kind, value = ""] = args;
  const event = (data?: object) =>
    JSON.stringify({ type: `reconciler.${kind}`, timestamp: new Date().toISOString(), data });
  switch (`${kind} ${args.length}`) {
    case "ping 1":
      return "[]";
    case "orphan_refund 1":
      return event();
    case "action 2":
      return event({ phase: value });
    case "sweep 2":
      if (value && Number(value) >= 0) return event({ duration_seconds: Number(value) });
  }
  throw new Error(kind ? `not understood: ${args.join(" ")}` : "nothing to send");
}

interface Destination {
  url: string;
  secret: string;
  /** Of the sender. */
  stage: string | undefined;
}

/** Reads the settings. Throws a SettingsError or a SecretsError, which shows no value. */
async function readDestination(): Promise<Destination> {
  const { RECEIVER_URL, SECRET_ID } = process.env;
  if (SECRET_ID && !RECEIVER_URL) {
    throw new SettingsError("RECEIVER_URL is missing: SECRET_ID does not say where its receiver is");
  }
  const url = RECEIVER_URL || `http://127.0.0.1:${receiverPort}/`;
  const parsed = URL.parse(url);
  if (!parsed || !/^https?:$/.test(parsed.protocol)) {
    throw new SettingsError("RECEIVER_URL must begin with https:// or http://");
  }
  if (parsed.username || parsed.password) {
    throw new SettingsError("RECEIVER_URL must not have a user or a password: deliveries are signed");
  }
  // The demo's secret is public, and no other receiver has it.
  const isDemo = !inArchive && isLocalHost(parsed.hostname);
  const kept: { WEBHOOK_SECRET?: string; STAGE?: string } = SECRET_ID
    ? await fetchSecrets(SECRET_ID, 3)
    : isDemo
      ? { WEBHOOK_SECRET: demoSecret }
      : {};
  const problems: string[] = [];
  const WEBHOOK_SECRET = process.env.WEBHOOK_SECRET || kept.WEBHOOK_SECRET;
  const [secret = ""] = parseWebhookSecrets({ WEBHOOK_SECRET }, problems);
  const stage = process.env.STAGE || kept.STAGE;
  if (stage && !isStage(stage)) problems.push(`STAGE ${stageRule}`);
  if (problems.length > 0) throw new SettingsError(problems.join("; "));
  return { url, secret, stage };
}

/** Posts the delivery once. Ctrl-C ends the wait for the answer. */
async function send({ url, secret, stage }: Destination, id: string, body: string): Promise<Outcome> {
  const interrupt = new AbortController();
  const onSignal = () => interrupt.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  const unconfirmed = (fact: string): Outcome => [
    "unconfirmed",
    `${fact}\nSend it again with the same events and --id ${shellWord(id)}: it is counted once.`,
  ];
  try {
    const { status, answer: text } = await deliver(url, secret, id, body, { stage, stop: interrupt.signal });
    const counted = status === 200 && describe(text, id);
    if (counted) return ["counted", counted];
    const answer = `${status} ${visibly(text.trim().slice(0, 500))}`;
    if (status < 400 || status >= 500 || [408, 429].includes(status)) return unconfirmed(`Not confirmed: ${answer}`);
    if ([400, 409, 413].includes(status) && !isOfReceiver(text)) {
      return unconfirmed(`Not confirmed, by something else than the receiver: ${answer}`);
    }
    const advice =
      status === 409 && !text.includes(stageHeader)
        ? "\nIts events are not counted. Send what was not counted under another id."
        : "";
    return ["refused", `Refused: ${answer}${advice}`];
  } catch (error) {
    if (interrupt.signal.aborted) return unconfirmed("Interrupted. Whether it was counted is unknown.");
    const advice = process.env.RECEIVER_URL ? "" : noReceiver;
    return unconfirmed(`No answer from ${visibly(url)}: ${fetchFailure(error)}.${advice}`);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** Whether a refusal is the receiver's own: a proxy knows nothing of the delivery. docs/events.md has the rule. */
function isOfReceiver(answer: string): boolean {
  try {
    const json = JSON.parse(answer);
    return typeof json.error === "string" && "stage" in json;
  } catch {
    return false;
  }
}

/** Says what became of a delivery. Returns undefined when the answer is not a receiver's. */
function describe(answer: string, id: string): string | undefined {
  try {
    const { status, published, stage } = JSON.parse(answer);
    if (status !== "recorded" && status !== "duplicate") return undefined;
    const what = status === "recorded" ? "Recorded." : "Duplicate, counted once.";
    const how = published ? "It is on the gateway." : "Another call or the next tick publishes it.";
    return `${what} ${how} (id ${id}${stage ? `, stage ${visibly(String(stage))}` : ""})`;
  } catch {
    return undefined;
  }
}

if (import.meta.main) await start(run);
