import { deadline, orAbort } from "./deadline.ts";
import { log } from "./log.ts";

/** A secret that could not be read. The message names it, the cause and what to do, and holds nothing of it. */
export class SecretsError extends Error {}

export type Texts = Record<string, string | undefined>;

const timeoutMs = 2_000;
const maxAgeMs = 5 * 60_000;
/** After a read that failed: with good ones in memory, and without. */
const retryAfterMs = 30_000;
const firstRetryAfterMs = 5_000;
const warnEveryMs = 60_000;

interface Cache {
  ids: string;
  texts?: Texts;
  readAtMs: number;
  /** Of the latest read, when it failed. */
  failure?: { error: SecretsError; atMs: number } | undefined;
  warnedAtMs: number;
  reading?: Promise<Texts> | undefined;
}
let cache: Cache | undefined;

const loadSdk = () => import("@aws-sdk/client-secrets-manager");
// At start, where a Lambda has its full speed. It is by far the largest part of the service: not where nobody needs it.
if (process.env.SECRET_ID) await loadSdk();

/**
 * The settings' texts by name from the Secrets Manager secrets that `ids` names, separated by commas. They are kept for 5
 * minutes. When they cannot be read again, the last good ones stay in use, with a warning each minute, and are asked for every
 * 30 s: an outage of Secrets Manager costs nothing. `fresh` has them read now, and never returns the old ones, since
 * Postgres has refused those.
 *
 * Callers at the same time share a read, and after one that failed there is a pause: whoever floods the receiver does not
 * flood Secrets Manager. Throws SecretsError.
 */
export async function readSecrets(ids: string, fresh: boolean): Promise<Texts> {
  if (cache?.ids !== ids) cache = { ids, readAtMs: 0, warnedAtMs: 0 };
  const entry = cache;
  const nowMs = Date.now();
  if (entry.texts && !fresh && nowMs - entry.readAtMs < maxAgeMs) return entry.texts;
  try {
    const pauseMs = entry.texts ? retryAfterMs : firstRetryAfterMs;
    if (entry.failure && nowMs - entry.failure.atMs < pauseMs && !entry.reading) throw entry.failure.error;
    entry.reading ??= readInto(entry);
    return await entry.reading;
  } catch (error) {
    if (!entry.texts || fresh) throw error;
    if (nowMs - entry.warnedAtMs >= warnEveryMs) {
      entry.warnedAtMs = nowMs;
      const age_seconds = Math.round((nowMs - entry.readAtMs) / 1000);
      log("warn", "secrets not read again, the last ones stay in use", {
        age_seconds,
        reason: (error as Error).message,
      });
    }
    return entry.texts;
  }
}

async function readInto(entry: Cache): Promise<Texts> {
  const startedAtMs = Date.now();
  try {
    entry.texts = await readAll(entry.ids.split(",").map((id) => id.trim()));
    entry.readAtMs = startedAtMs;
    entry.failure = undefined;
    return entry.texts;
  } catch (error) {
    entry.failure = { error: error as SecretsError, atMs: Date.now() };
    throw error;
  } finally {
    entry.reading = undefined;
  }
}

async function readAll(ids: string[]): Promise<Texts> {
  const { SecretsManagerClient, GetSecretValueCommand } = await loadSdk();
  const client = new SecretsManagerClient({});
  const readDeadline = deadline("Secrets Manager", timeoutMs);
  const read = async (id: string) => {
    try {
      const sending = client.send(new GetSecretValueCommand({ SecretId: id }), { abortSignal: readDeadline });
      const { SecretString } = await orAbort(sending, readDeadline);
      return Object.entries(JSON.parse(SecretString ?? ""));
    } catch (error) {
      const why = readDeadline.aborted ? (error as Error).message : causeOf(error as AwsError);
      throw new SecretsError(`SECRET_ID: ${id} could not be read: ${why}`);
    }
  };
  try {
    const entries = (await Promise.all(ids.map(read))).flat();
    return Object.fromEntries(entries.map(([name, value]) => [name, `${value}`]));
  } finally {
    client.destroy();
  }
}

type AwsError = Error & { code?: string };

/**
 * What went wrong, and what to do, by the error's name:
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html.
 * Never the message itself: that of a JSON parser repeats a part of the secret.
 */
function causeOf({ name, message, code }: AwsError): string {
  switch (name) {
    case "AccessDeniedException":
      return /\bKMS\b/.test(message)
        ? "AccessDeniedException, KMS: the role lacks kms:Decrypt on the secret's key (kmsKeyArn)"
        : "AccessDeniedException, IAM: the role lacks secretsmanager:GetSecretValue on it";
    case "ResourceNotFoundException":
      return "ResourceNotFoundException: there is none of this name in this account and region";
    case "DecryptionFailure":
      return "DecryptionFailure: its KMS key is disabled, or gone";
    case "ExpiredTokenException":
    case "UnrecognizedClientException":
    case "CredentialsProviderError":
      return `${name}: there are no valid AWS credentials here`;
    case "SyntaxError":
    case "TypeError":
      return "it is not a JSON object";
    default:
      if (message === "Region is missing") return "no AWS region is set: set AWS_REGION";
      return code ? `${name}, ${code}` : name;
  }
}
