import { secretsFreshMs, secretsRetryMs } from "../limits.ts";
import { log } from "../log.ts";
import { fetchSecrets, type Texts } from "./secrets.ts";

/** Secrets that are read rarely, and used by every invocation. */
export interface KeptSecrets<Parsed> {
  /**
   * Resolves to what the secrets in `ids`, separated by commas, were parsed to. They are read when the last read was 5
   * minutes ago. If it failed or was doubted, they are read again 5 s later for each secret: after 10 s, if there are
   * two. Where they cannot be read or parsed, the last good ones stay in use, with a warning for each failed read.
   * `fresh` reads at once, and takes no old ones for an answer: Postgres has refused the password. Rejects with a
   * SecretsError, or as `parse` throws.
   *
   * Callers at the same time share a read, and back off together after a failure, so that a flood of requests floods no
   * API of AWS.
   */
  read(ids: string, fresh: boolean): Promise<Parsed>;
  /** Notes that an invocation has failed with them: they may be wrong, and mended by now. */
  doubt(): void;
}

/**
 * Keeps what `parse` makes of the secrets' texts by name. A read makes at most so many attempts. Times are of the
 * monotonic clock: after a clock is set back, secrets are read again as before.
 */
export function keepSecrets<Parsed>(parse: (texts: Texts) => Parsed, maxAttempts: number): KeptSecrets<Parsed> {
  let readIds: string | undefined;
  /** As many secrets, as many requests for a read. */
  const retryMs = () => secretsRetryMs * (readIds ?? "").split(",").length;
  let latest: Promise<Parsed>;
  let isReading = false;
  /** When the read of `latest` began. */
  let startedAtMs = 0;
  /** How long `latest` is kept, from then on. */
  let keptForMs = 0;
  /** What the last read yielded that succeeded, and when it began. */
  let good: { parsed: Parsed; readAtMs: number } | undefined;

  const start = async (ids: string): Promise<Parsed> => {
    const readAtMs = performance.now();
    startedAtMs = readAtMs;
    isReading = true;
    try {
      const parsed = parse(await fetchSecrets(ids, maxAttempts));
      good = { parsed, readAtMs };
      keptForMs = secretsFreshMs;
      return parsed;
    } catch (error) {
      keptForMs = performance.now() - readAtMs + retryMs();
      if (good) {
        const age_seconds = Math.round((performance.now() - good.readAtMs) / 1000);
        const { message: reason } = error as Error;
        log("warn", "secrets not read again, the last ones stay in use", { age_seconds, reason });
      }
      throw error;
    } finally {
      isReading = false;
    }
  };

  return {
    async read(ids, fresh) {
      if (ids !== readIds) {
        good = undefined;
        readIds = ids;
        latest = start(ids);
      } else if (!isReading && (fresh || performance.now() >= startedAtMs + keptForMs)) {
        latest = start(ids);
      }
      try {
        return await latest;
      } catch (error) {
        if (fresh || !good) throw error;
        return good.parsed;
      }
    },
    doubt() {
      keptForMs = Math.min(keptForMs, retryMs());
    },
  };
}
