// The look "settings": the functions' own settings, and where they say that the ledger is.

import { errorFields } from "../../lib/log.ts";
import { type Ledger, type LedgerTexts, parseLedger } from "../../lib/settings/ledger.ts";
import { SecretsError } from "../../lib/settings/secrets.ts";
import { loadSettings, type Settings, SettingsError, settingNames } from "../../lib/settings/settings.ts";
import { Problem } from "./finding.ts";
import type { Functions } from "./scene.ts";

const checkSecret =
  "check its name, the region, and your AWS credentials: aws sts get-caller-identity. Running functions use " +
  'the last good secret meanwhile, and log "secrets not read again"';

/** The functions' settings, from the environment and from the secret if there is one. Throws a Problem. */
export async function readSettings({ receiver }: Functions): Promise<Settings> {
  try {
    return await loadSettings(receiver ? "receiver" : "sampler");
  } catch (error) {
    throw new Problem(errorFields(error).reason, error instanceof SecretsError ? checkSecret : "see docs/settings.md");
  }
}

/** What the line of valid settings says: with SECRET_ID, also which settings came from elsewhere, and so won. */
export function sourceOfSettings(environment: Record<string, string | undefined>): string {
  const given = [...settingNames, "PGPASSWORD"].filter((name) => environment[name]);
  if (!environment.SECRET_ID || given.length === 0) return "valid";
  return `valid; from the environment, and not from the secrets: ${given.join(", ")}`;
}

/** Where the environment says that the ledger is. Throws a SettingsError. */
export function ledgerOf(environment: LedgerTexts): Ledger {
  const problems: string[] = [];
  const ledger = parseLedger(environment, problems);
  if (problems.length > 0) throw new SettingsError(problems.join("; "));
  return ledger;
}
