import { trustCertificates } from "./certificates.ts";
import { keepSecrets } from "./kept-secrets.ts";
import { type DatabaseTarget, type FunctionName, parseSettings, type Settings, settingNames } from "./parse.ts";
import type { Texts } from "./secrets.ts";

export * from "./parse.ts";

/** Finds where to connect; called with `fresh = true` after Postgres has refused the password. */
export type FindDatabase = (fresh: boolean) => Promise<DatabaseTarget>;

/** A setting in the environment wins over the same setting in the secrets. */
const parseFor = (functionName: FunctionName) => (texts: Texts) => {
  const given = settingNames.map((name) => [name, process.env[name] || texts[name]]);
  return parseSettings({ ...texts, ...Object.fromEntries(given) }, functionName);
};
const parse = { sampler: parseFor("sampler"), receiver: parseFor("receiver") };
/** Strangers can have the receiver read a secret every 5 s: 12 requests a minute, if none is made twice. */
const kept = { sampler: keepSecrets(parse.sampler, 3), receiver: keepSecrets(parse.receiver, 1) };

/**
 * Reads and validates the settings of one function, from the environment first, then from the Secrets Manager secrets
 * in SECRET_ID. `fresh` bypasses their cache. From then on this process trusts CA_CERTIFICATES. Throws as
 * `parseSettings` does, or a SecretsError.
 */
export async function loadSettings(functionName: FunctionName, { fresh = false } = {}): Promise<Settings> {
  const ids = process.env.SECRET_ID;
  const settings = ids ? await kept[functionName].read(ids, fresh) : parse[functionName]({});
  trustCertificates(settings.certificates);
  return settings;
}

/**
 * Notes that an invocation or its push has failed, since its settings may be wrong: the next one reads the secrets
 * again, from 5 s for each of them after they were read on.
 */
export const doubtSettings = (functionName: FunctionName): void => kept[functionName].doubt();

/**
 * Returns how an invocation finds its database: as in its settings and, from a refused password on, as in the settings
 * that were read again then.
 */
export function findDatabaseOf(functionName: FunctionName, settings: Settings): FindDatabase {
  let latest = settings;
  return async (fresh) => {
    if (fresh) latest = await loadSettings(functionName, { fresh });
    return latest.database;
  };
}
