import { hash } from "node:crypto";
import type { LambdaFunctionURLEvent, LambdaFunctionURLHandler, LambdaFunctionURLResult } from "aws-lambda";
import { isConnectionError, keepConnections, withDeadline } from "../lib/database.ts";
import { deadline, stayAwake, twice } from "../lib/deadline.ts";
import { parseEvents, tally } from "../lib/events.ts";
import { keptTimeoutMs, publishTimeoutMs, recordTimeoutMs } from "../lib/limits.ts";
import { errorFields, log } from "../lib/log.ts";
import { Refusal } from "../lib/refusal.ts";
import { loadSettings, type Settings } from "../lib/settings.ts";
import { maxBodyBytes, maxIdLength, plainId, readSignedHeaders, verifySignature } from "../lib/signature.ts";
import { type Delivery, type DeliveryStatus, publishTotals, recordDelivery } from "../lib/totals.ts";
import { logUnsigned, noteMatch } from "../lib/unsigned.ts";

/** As far as clocks may differ: what a signature tolerates. */
const maxAheadSeconds = 300;

const findDatabase = async (fresh: boolean) => (await loadSettings("receiver", { fresh })).database;
const connections = keepConnections(findDatabase, "veza-ledger-receiver", { isStrict: true });

/** One delivery of reconciler events: verify, record once, publish the totals, answer. */
export const handler: LambdaFunctionURLHandler = (event) => stayAwake(receive(event));

async function receive(event: LambdaFunctionURLEvent): Promise<LambdaFunctionURLResult> {
  let stage: string | null | undefined; // Known once the signature is right, and told to no other caller.
  try {
    const bytes = readBody(event);
    const signed = readSignedHeaders(event.headers ?? {});
    const settings = await loadSettings("receiver");
    verifySignature(signed, bytes, settings.webhookSecrets);
    noteMatch();
    stage = settings.stage ?? null;
    if (bytes.byteLength > maxBodyBytes) throw new Refusal(413, `the body is over ${maxBodyBytes} bytes`);
    const id = plainId(signed.id);
    const events = parseEvents(bytes.toString("utf8"));
    // The time is clamped, and the event counts; but somebody has to set the sender's clock right.
    const end = Math.max(...events.map((event) => (event.type === "reconciler.sweep" ? event.timestamp : 0)));
    const ahead_seconds = Math.round((end - Date.now()) / 1000);
    if (ahead_seconds > maxAheadSeconds) log("warn", "a sweep's time is ahead", { id, ahead_seconds });
    const status = await record({ id, bodyDigest: hash("sha256", bytes), increments: tally(events) });
    const published = await publish(settings);
    log("info", "delivery", { id, status, events: events.length, published });
    return answer(200, { status, published, stage });
  } catch (error) {
    const id = String(event?.headers?.["webhook-id"] ?? "").slice(0, maxIdLength) || undefined; // Unverified.
    if (error instanceof Refusal) {
      if (stage === undefined) logUnsigned(error);
      else log("warn", "delivery refused", { id, status: error.status, error: error.message });
      return answer(error.status, { error: error.message, stage }, error.status === 405 ? { allow: "POST" } : {});
    }
    log("error", "delivery not confirmed", { id, ...errorFields(error) });
    return answer(503, { error: "not confirmed; send again with the same webhook-id", stage }, { "retry-after": "5" });
  }
}

/** Refuses an invocation without a request as not a POST: the console's Test button sends `{}`. */
function readBody(event: LambdaFunctionURLEvent): Buffer {
  if (event?.requestContext?.http?.method !== "POST") throw new Refusal(405, "only POST is allowed");
  const { body = "", isBase64Encoded } = event;
  if (typeof body !== "string") throw new Refusal(400, "body: must be text");
  return Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
}

/** Tries once more when the connection fails, or a kept one is late: recording twice counts once. */
async function record(delivery: Delivery): Promise<DeliveryStatus> {
  const recordDeadline = deadline("Postgres", recordTimeoutMs);
  let late: AbortSignal | undefined;
  const attempt = () =>
    connections.use((database) => {
      late = database.usedAtMs ? deadline("Postgres", keptTimeoutMs) : undefined;
      return withDeadline(database, late ?? recordDeadline, (sql) => recordDelivery(sql, delivery));
    });
  return await twice(attempt, (error) => recordDeadline.aborted || !(late?.aborted || isConnectionError(error)));
}

/** Says whether this call has published. Never rejects. */
async function publish({ pushgateway, stage }: Settings): Promise<boolean> {
  try {
    const publishDeadline = deadline("publishing the totals", publishTimeoutMs);
    return await publishTotals(connections, pushgateway, stage, publishDeadline);
  } catch (error) {
    log("warn", "totals not published", errorFields(error));
    return false;
  }
}

function answer(statusCode: number, body: object, headers: Record<string, string> = {}): LambdaFunctionURLResult {
  return { statusCode, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}
