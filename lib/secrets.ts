import { deadline, orAbort } from "./deadline.ts";
import { secretsTimeoutMs } from "./limits.ts";
import { log } from "./log.ts";

/** A secret could not be read. The message names it, the cause and a remedy, and shows nothing of its value. */
export class SecretsError extends Error {}

export type Texts = Record<string, string | undefined>;

const maxAgeMs = 5 * 60_000;
/** After a failed read: with good texts in the cache, and without. */
const retryAfterMs = 30_000;
const firstRetryAfterMs = 5_000;

interface Cache {
  ids: string;
  /** The last read that succeeded. */
  good?: { texts: Texts; readAtMs: number };
  latest: Promise<Texts>;
  /** Infinity while `latest` is under way. */
  readAgainAtMs: number;
}
let cache: Cache | undefined;

export const loadSdk = () => import("@aws-sdk/client-secrets-manager");
// At start, where Lambda gives full speed: measured, and not documented by AWS. By far the largest part of the service.
if (process.env.SECRET_ID || process.env.AWS_LAMBDA_FUNCTION_NAME) await loadSdk();

/**
 * Reads the secrets in `ids`, separated by commas. Returns the settings' texts by name, from a cache for 5 minutes. An
 * outage of Secrets Manager costs nothing: the last good texts stay in use, with a warning for each failed read, one in
 * 30 s. `fresh` bypasses the cache, since Postgres has refused its password. Throws SecretsError.
 *
 * Callers at the same time share a read, and back off together after a failure: a flood of requests floods no AWS API.
 */
export async function readSecrets(ids: string, fresh: boolean): Promise<Texts> {
  const isReading = cache?.readAgainAtMs === Number.POSITIVE_INFINITY;
  if (cache?.ids !== ids) cache = read(ids);
  else if (Date.now() >= cache.readAgainAtMs || (fresh && !isReading)) cache = read(ids, cache.good);
  const { good, latest } = cache;
  return await latest.catch((error) => {
    if (fresh || !good) throw error;
    return good.texts;
  });
}

/** Starts a read. */
function read(ids: string, good?: Cache["good"]): Cache {
  const readAtMs = Date.now();
  const latest = readAll(ids.split(",").map((id) => id.trim())).then(
    (texts) => {
      entry.good = { texts, readAtMs };
      entry.readAgainAtMs = readAtMs + maxAgeMs;
      return texts;
    },
    (error: SecretsError) => {
      entry.readAgainAtMs = Date.now() + (good ? retryAfterMs : firstRetryAfterMs);
      if (good) {
        const age_seconds = Math.round((Date.now() - good.readAtMs) / 1000);
        log("warn", "secrets not read again, the last ones stay in use", { age_seconds, reason: error.message });
      }
      throw error;
    },
  );
  const entry: Cache = { ids, latest, readAgainAtMs: Number.POSITIVE_INFINITY, ...(good && { good }) };
  return entry;
}

async function readAll(ids: string[]): Promise<Texts> {
  const { SecretsManagerClient, GetSecretValueCommand } = await loadSdk();
  const client = new SecretsManagerClient({});
  const readDeadline = deadline("Secrets Manager", secretsTimeoutMs);
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
    const entries = (await Promise.all(ids.map(read))).flat().filter(([, value]) => value !== null);
    return Object.fromEntries(entries.map(([name, value]) => [name, `${value}`]));
  } finally {
    client.destroy();
  }
}

type AwsError = Error & { code?: string };

/**
 * The cause and the remedy, by the error's name:
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html. Never the message itself: a
 * JSON parser repeats a part of the secret in it.
 */
function causeOf({ name, message, code }: AwsError): string {
  switch (name) {
    case "AccessDeniedException":
      return /\bKMS\b/.test(message)
        ? "AccessDeniedException, KMS: the role lacks kms:Decrypt on the secret's key (kmsKeyArn)"
        : "AccessDeniedException, IAM: the role lacks secretsmanager:GetSecretValue on it";
    case "ResourceNotFoundException":
      return "ResourceNotFoundException: no secret of this name in this account and region";
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
