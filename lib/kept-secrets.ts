import { secretsFreshMs, secretsRetryMs } from "./limits.ts";
import { log } from "./log.ts";
import { fetchSecrets, type Texts } from "./secrets.ts";

interface Cache<Parsed> {
  ids: string;
  /** The last read that succeeded. */
  good?: { parsed: Parsed; readAtMs: number };
  latest: Promise<Parsed>;
  /** Infinity while `latest` is under way. */
  readAgainAtMs: number;
}
type Parse<Parsed> = (texts: Texts) => Parsed;
const caches = new Map<Parse<unknown>, Cache<unknown>>();

/**
 * Reads the secrets in `ids`, separated by commas. Returns what `parse` makes of the settings' texts by name, from a
 * cache for 5 minutes, one for each `parse`. Secrets that cannot be read or parsed cost nothing: the last good ones
 * stay in use, with a warning for each failed read, one in 5 s. `fresh` bypasses the cache, since Postgres has refused
 * its password. Throws SecretsError, or as `parse` does.
 *
 * Callers at the same time share a read, and back off together after a failure: a flood of requests floods no AWS API.
 */
export async function readSecrets<Parsed>(ids: string, fresh: boolean, parse: Parse<Parsed>): Promise<Parsed> {
  let cache = caches.get(parse) as Cache<Parsed> | undefined;
  const isReading = cache?.readAgainAtMs === Number.POSITIVE_INFINITY;
  if (cache?.ids !== ids) cache = read(ids, parse);
  else if (Date.now() >= cache.readAgainAtMs || (fresh && !isReading)) cache = read(ids, parse, cache.good);
  caches.set(parse, cache);
  const { good, latest } = cache;
  return await latest.catch((error) => {
    if (fresh || !good) throw error;
    return good.parsed;
  });
}

/** Starts a read. */
function read<Parsed>(ids: string, parse: Parse<Parsed>, good?: Cache<Parsed>["good"]): Cache<Parsed> {
  const readAtMs = Date.now();
  const latest = fetchSecrets(ids).then(parse);
  latest.then(
    (parsed) => {
      entry.good = { parsed, readAtMs };
      entry.readAgainAtMs = readAtMs + secretsFreshMs;
    },
    (error: Error) => {
      entry.readAgainAtMs = Date.now() + secretsRetryMs;
      if (good) {
        const age_seconds = Math.round((Date.now() - good.readAtMs) / 1000);
        log("warn", "secrets not read again, the last ones stay in use", { age_seconds, reason: error.message });
      }
    },
  );
  const entry: Cache<Parsed> = { ids, latest, readAgainAtMs: Number.POSITIVE_INFINITY, ...(good && { good }) };
  return entry;
}
