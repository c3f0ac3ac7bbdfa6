import { secretsFirstRetryMs, secretsFreshMs, secretsRetryMs } from "./limits.ts";
import { log } from "./log.ts";
import { fetchSecrets, type SecretsError, type Texts } from "./secrets.ts";

interface Cache {
  ids: string;
  /** The last read that succeeded. */
  good?: { texts: Texts; readAtMs: number };
  latest: Promise<Texts>;
  /** Infinity while `latest` is under way. */
  readAgainAtMs: number;
}
let cache: Cache | undefined;

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
  const latest = fetchSecrets(ids.split(",").map((id) => id.trim()));
  latest.then(
    (texts) => {
      entry.good = { texts, readAtMs };
      entry.readAgainAtMs = readAtMs + secretsFreshMs;
    },
    (error: SecretsError) => {
      entry.readAgainAtMs = Date.now() + (good ? secretsRetryMs : secretsFirstRetryMs);
      if (good) {
        const age_seconds = Math.round((Date.now() - good.readAtMs) / 1000);
        log("warn", "secrets not read again, the last ones stay in use", { age_seconds, reason: error.message });
      }
    },
  );
  const entry: Cache = { ids, latest, readAgainAtMs: Number.POSITIVE_INFINITY, ...(good && { good }) };
  return entry;
}
