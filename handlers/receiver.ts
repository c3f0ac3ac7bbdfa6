import { hash } from "node:crypto";
import type { LambdaFunctionURLEvent, LambdaFunctionURLHandler, LambdaFunctionURLResult } from "aws-lambda";
import { isConnectionError, keepConnections, withDeadline } from "../lib/database.ts";
import { deadline, stayAwake, twice } from "../lib/deadline.ts";
import { parseEvents, type ReconcilerEvent, tally } from "../lib/events.ts";
import { errorFields, log } from "../lib/log.ts";
import { Refusal } from "../lib/refusal.ts";
import { loadSettings, type Settings } from "../lib/settings.ts";
import { maxIdLength, readSignedHeaders, verifySignature } from "../lib/signature.ts";
import { type DeliveryStatus, publishTotals, recordDelivery } from "../lib/totals.ts";

const maxBodyBytes = 256 * 1024;
/** Of the function's 15 s: 4 for settings, 5 to record, 3.5 to publish, 2.5 spare. */
const recordTimeoutMs = 5_000;
const publishTimeoutMs = 3_500;

const findDatabase = async (fresh: boolean) => (await loadSettings("receiver", { fresh })).database;
const connections = keepConnections(findDatabase, "veza-ledger-receiver");

/** One delivery of reconciler events: verify, record once, publish the totals, answer. */
export const handler: LambdaFunctionURLHandler = (event) => stayAwake(receive(event));

async function receive(event: LambdaFunctionURLEvent): Promise<LambdaFunctionURLResult> {
  try {
    const bytes = readBody(event);
    const body = bytes.toString("utf8");
    const signed = readSignedHeaders(event.headers ?? {});
    if (bytes.byteLength > maxBodyBytes) throw new Refusal(413, `the body is over ${maxBodyBytes} bytes`);
    const settings = await loadSettings("receiver");
    const id = verifySignature(signed, body, settings.webhookSecrets);
    const events = parseEvents(body);
    const status = await record(id, bytes, events);
    const published = await publish(settings);
    log("info", "delivery", { id, status, events: events.length, published });
    return answer(200, { status, published });
  } catch (error) {
    const id = String(event?.headers?.["webhook-id"] ?? "").slice(0, maxIdLength) || undefined; // Unverified.
    if (error instanceof Refusal) {
      log("warn", "delivery refused", { id, status: error.status, error: error.message });
      return answer(error.status, { error: error.message }, error.status === 405 ? { allow: "POST" } : {});
    }
    log("error", "delivery not confirmed", { id, ...errorFields(error) });
    return answer(503, { error: "not confirmed; send again with the same webhook-id" }, { "retry-after": "5" });
  }
}

/** Refuses an invocation without a request as not a POST: the console's Test button sends `{}`. */
function readBody(event: LambdaFunctionURLEvent): Buffer {
  if (event?.requestContext?.http?.method !== "POST") throw new Refusal(405, "only POST is allowed");
  const { body = "", isBase64Encoded } = event;
  if (typeof body !== "string") throw new Refusal(400, "body: must be text");
  return Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
}

/** Tries once more when the connection fails: it may have died unnoticed, and recording twice counts once. */
async function record(id: string, body: Buffer, events: ReconcilerEvent[]): Promise<DeliveryStatus> {
  const delivery = { id, bodyDigest: hash("sha256", body), increments: tally(events) };
  const recordDeadline = deadline("Postgres", recordTimeoutMs);
  const status = await twice(
    () => connections.use((database) => withDeadline(database, recordDeadline, (sql) => recordDelivery(sql, delivery))),
    (error) => recordDeadline.aborted || !isConnectionError(error),
  );
  if (status === "conflict") throw new Refusal(409, "webhook-id: was recorded before with a different body");
  return status;
}

/** Says whether this call has published. Never rejects. */
async function publish({ pushgateway, stage }: Settings): Promise<boolean> {
  try {
    const publishDeadline = deadline("publishing the totals", publishTimeoutMs);
    return await publishTotals(connections, pushgateway, stage, publishDeadline);
  } catch (error) {
    log("warn", "totals not published, the next tick will", errorFields(error));
    return false;
  }
}

function answer(statusCode: number, body: object, headers: Record<string, string> = {}): LambdaFunctionURLResult {
  return { statusCode, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}
