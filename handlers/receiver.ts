import { createHash } from "node:crypto";
import type { LambdaFunctionURLHandler, LambdaFunctionURLResult } from "aws-lambda";
import { isConnectionError, keepConnection, within } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { InvalidEvents, maxEvents, parseEvents, TooManyEvents, tally } from "../lib/events.ts";
import { log, reason } from "../lib/log.ts";
import { loadSettings, type Settings } from "../lib/settings.ts";
import { SignatureError, verifySignature } from "../lib/signature.ts";
import { publishTotals, purgeDeliveries, recordDelivery } from "../lib/totals.ts";

const maxBodyBytes = 256 * 1024;
/** With twice 2 s for settings, these leave 1.5 s of the function's 15. */
const recordTimeoutMs = 5_000;
const publishTimeoutMs = 3_500;
const purgeTimeoutMs = 1_000;

const database = keepConnection(async (fresh) => (await loadSettings("receiver", { fresh })).database, {
  applicationName: "veza-ledger-receiver",
  idleTimeoutSeconds: 5, // A Lambda that was frozen for longer closes the dead connection as it thaws, before its next use.
});

/** One delivery of reconciler events: verify, record once, publish the totals, answer. */
export const handler: LambdaFunctionURLHandler = async (event) => {
  if (event.requestContext.http.method !== "POST") return refuse(405, "only POST is allowed", { allow: "POST" });
  const bytes = Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8");
  if (bytes.byteLength > maxBodyBytes) return refuse(413, `the body is over ${maxBodyBytes} bytes`);
  const body = bytes.toString("utf8");

  try {
    const settings = await loadSettings("receiver");
    const id = verifySignature(event.headers, body, settings.webhookSecrets);
    if (!/^[!-~]{1,256}$/.test(id) || id.includes(".")) {
      return refuse(400, "webhook-id: must be 1 to 256 printable ASCII characters without spaces and full stops");
    }
    const events = parseEvents(body);
    const bodyDigest = createHash("sha256").update(bytes).digest("hex");
    const status = await record({ id, bodyDigest, samples: await tally(events) });
    if (status === "conflict") return refuse(409, "webhook-id: was recorded before with a different body");

    const published = await publish(settings);
    if (status === "recorded") await purge();
    log("info", "delivery", { id, status, events: events.length, published });
    return answer(200, { status, published });
  } catch (error) {
    if (error instanceof SignatureError) return refuse(401, error.message);
    if (error instanceof InvalidEvents) return refuse(400, error.message);
    if (error instanceof TooManyEvents) return refuse(413, `over ${maxEvents} events`);
    log("error", "delivery not recorded", reason(error));
    return answer(503, { error: "not recorded; send again with the same webhook-id" }, { "retry-after": "5" });
  }
};

/** Tries once more on a new connection: the kept one may have died unnoticed, and recording twice counts once. */
async function record(delivery: Parameters<typeof recordDelivery>[1]) {
  const limit = deadline("Postgres", recordTimeoutMs);
  const attempt = async () => within(await database(limit), limit, (sql) => recordDelivery(sql, delivery));
  return attempt().catch((error) => {
    if (limit.aborted || !isConnectionError(error)) throw error;
    return attempt();
  });
}

let publishing = Promise.resolve(true);
let nextPublish: Promise<boolean> | undefined;

/** Says whether the totals, with all that was recorded before this call, are on the gateway. Never rejects. */
function publish(settings: Settings): Promise<boolean> {
  // Deliveries that are recorded while a push is under way share the next one.
  nextPublish ??= publishing.then(() => {
    nextPublish = undefined;
    publishing = publishNow(settings);
    return publishing;
  });
  return nextPublish;
}

async function publishNow({ pushgateway, stage }: Settings): Promise<boolean> {
  const limit = deadline("publishing the totals", publishTimeoutMs);
  try {
    await publishTotals(await database(limit), pushgateway, stage, limit);
    return true;
  } catch (error) {
    log("warn", "totals not published, the next tick will", reason(error));
    return false;
  }
}

async function purge(): Promise<void> {
  const limit = deadline("Postgres", purgeTimeoutMs);
  try {
    await within(await database(limit), limit, purgeDeliveries);
  } catch (error) {
    log("warn", "old deliveries not purged", reason(error));
  }
}

function refuse(statusCode: number, error: string, headers: Record<string, string> = {}): LambdaFunctionURLResult {
  log("warn", "delivery refused", { status: statusCode, error });
  return answer(statusCode, { error }, headers);
}

function answer(statusCode: number, body: object, headers: Record<string, string> = {}): LambdaFunctionURLResult {
  return { statusCode, headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) };
}
