import { isUtf8 } from "node:buffer";
import type { LambdaFunctionURLEvent, LambdaFunctionURLHandler, LambdaFunctionURLResult } from "aws-lambda";
import { deadlineFor, stayAwake, TooLate, withAnyOf } from "../lib/deadline.ts";
import {
  keptTimeoutMs,
  lateSweepSeconds,
  longSweepSeconds,
  maxBodyBytes,
  maxIdLength,
  recordTimeoutMs,
  toleranceSeconds,
} from "../lib/limits.ts";
import { errorFields, log } from "../lib/log.ts";
import { type Connections, keepConnections } from "../lib/postgres/connections.ts";
import { type Database, isConnectionError, withDeadline } from "../lib/postgres/database.ts";
import { retryOnce } from "../lib/retry.ts";
import { doubtSettings, findDatabaseOf, loadSettings } from "../lib/settings/settings.ts";
import { AnotherStage, refuseOtherStage, stageHeader } from "../lib/totals/another-stage.ts";
import { type Delivery, type DeliveryStatus, recordDelivery } from "../lib/totals/deliveries.ts";
import { ignoredFields, parseEvents, type ReconcilerEvent, tally } from "../lib/totals/events.ts";
import { tryToPublish } from "../lib/totals/publish.ts";
import { Refusal } from "../lib/totals/refusal.ts";
import { plainId, readSignedHeaders, type SignedHeaders, verifySignature } from "../lib/totals/signature.ts";
import { logUnsigned } from "../lib/totals/unsigned.ts";

const connectBy = keepConnections("veza-ledger-receiver");

/** One delivery of reconciler events: verify, record once, publish the totals, answer. */
export const handler: LambdaFunctionURLHandler = (request) => stayAwake(receive(request));

async function receive(request: LambdaFunctionURLEvent): Promise<LambdaFunctionURLResult> {
  let stage: string | null | undefined; // Known once the signature is right, and told to no other caller.
  try {
    const bytes = readBody(request);
    const signed = readSignedHeaders(request.headers ?? {});
    const settings = await loadSettings("receiver");
    verify(signed, bytes, settings.webhookSecrets);
    stage = settings.stage ?? null;
    if (bytes.byteLength > maxBodyBytes) throw new Refusal(413, `the body is over ${maxBodyBytes} bytes`);
    refuseOtherStage(request.headers[stageHeader], settings.stage);
    const id = plainId(signed.id);
    if (!isUtf8(bytes)) throw new Refusal(400, "the body must be JSON in UTF-8, and not compressed");
    const body = bytes.toString("utf8");
    const events = parseEvents(body);
    const connections = connectBy(findDatabaseOf("receiver", settings));
    const status = await record(connections, { id, increments: tally(events), stage: settings.stage });
    if (status === "recorded") warnOf(id, events, ignoredFields(body));
    const published = await tryToPublish(connections, settings, () => doubtSettings("receiver"));
    log("info", "delivery", { id, status, events: events.length, published });
    return answer(200, { status, published, stage });
  } catch (error) {
    const id = String(request?.headers?.["webhook-id"] ?? "").slice(0, maxIdLength) || undefined; // Unverified.
    if (error instanceof Refusal) {
      if (stage === undefined) logUnsigned(error);
      else log("warn", "delivery refused", { id, status: error.status, error: error.message });
      return answer(error.status, { error: error.message, stage }, error.status === 405 ? { allow: "POST" } : {});
    }
    doubtSettings("receiver");
    log("error", "delivery not confirmed", { id, ...errorFields(error) });
    const why = error instanceof AnotherStage ? error.message : "not confirmed";
    return answer(503, { error: `${why}; send again with the same webhook-id`, stage }, { "retry-after": "5" });
  }
}

/** Refuses an invocation without a request as not a POST: the console's Test button sends `{}`. */
function readBody(request: LambdaFunctionURLEvent): Buffer {
  if (request?.requestContext?.http?.method !== "POST") throw new Refusal(405, "only POST is allowed");
  const { body = "", isBase64Encoded } = request;
  if (typeof body !== "string") throw new Refusal(400, "body: must be text");
  return Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
}

/**
 * Verifies a signature. When it does not match, perhaps WEBHOOK_SECRET is wrong, so the secret is read again. Strangers
 * can cause this, but at most once in 5 s.
 */
function verify(headers: SignedHeaders, body: Buffer, secrets: readonly string[]): void {
  try {
    verifySignature(headers, body, secrets);
  } catch (error) {
    doubtSettings("receiver");
    throw error;
  }
}

/** Tries once more when the connection fails, or a kept one is late: recording twice counts once. */
async function record(connections: Connections, delivery: Delivery): Promise<DeliveryStatus> {
  // It begins here, so that both attempts share it with the wait for a connection. If each attempt had its own, then
  // with a mute or slow Postgres every five deliveries would wait for the five before them.
  const recordDeadline = deadlineFor("Postgres", recordTimeoutMs);
  const attempt = async (database: Database) => {
    recordDeadline.throwIfAborted(); // The connection is left to those that still have time.
    const limits = [recordDeadline, ...(database.usedAtMs ? [deadlineFor("Postgres", keptTimeoutMs)] : [])];
    return await withAnyOf(limits, (limit) => withDeadline(database, limit, (sql) => recordDelivery(sql, delivery)));
  };
  const mayHelp = (error: unknown) => !recordDeadline.aborted && (error instanceof TooLate || isConnectionError(error));
  return await retryOnce(() => connections.use(attempt), mayHelp);
}

/**
 * Logs what is odd about a delivery that counts: fields that were ignored, and a longest sweep that took so long that
 * it is more likely in milliseconds. Also a newest sweep whose time is far from now: the sender's clock or zone is
 * wrong, or the delivery comes late.
 */
function warnOf(id: string, events: ReconcilerEvent[], fields: string[]): void {
  if (fields.length > 0) log("warn", "fields ignored", { id, fields });
  const sweeps = events.filter((event) => event.type === "reconciler.sweep");
  if (sweeps.length === 0) return;
  const duration_seconds = Math.max(...sweeps.map(({ data }) => data.duration_seconds));
  if (duration_seconds > longSweepSeconds) log("warn", "a sweep's duration is long", { id, duration_seconds });
  const ahead_seconds = Math.round((Math.max(...sweeps.map(({ timestamp }) => timestamp)) - Date.now()) / 1000);
  if (ahead_seconds > toleranceSeconds) log("warn", "a sweep's time is ahead", { id, ahead_seconds });
  if (-ahead_seconds > lateSweepSeconds) log("warn", "a sweep's time is past", { id, late_seconds: -ahead_seconds });
}

function answer(statusCode: number, body: object, headers: Record<string, string> = {}): LambdaFunctionURLResult {
  return { statusCode, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}
