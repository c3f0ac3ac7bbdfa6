import { deadline, orAbort } from "./deadline.ts";

/** A secret that could not be read. The message names it, and holds nothing of it. */
export class SecretsError extends Error {}

export type Texts = Record<string, string | undefined>;

const timeoutMs = 2_000;
const maxAgeMs = 5 * 60_000;
let cached: { ids: string; readAtMs: number; texts: Promise<Texts> } | undefined;

const loadSdk = () => import("@aws-sdk/client-secrets-manager");
// At start, where a Lambda has its full speed. It is by far the largest part of the service: not where nobody needs it.
if (process.env.SECRET_ID) await loadSdk();

/**
 * The settings' texts by name from the Secrets Manager secrets that `ids` names, separated by commas. They are kept for 5
 * minutes, unless `fresh` asks for them now. Callers at the same time share a read: whoever floods the receiver does not
 * flood Secrets Manager. Throws SecretsError.
 */
export function readSecrets(ids: string, fresh: boolean): Promise<Texts> {
  const before = cached?.ids === ids ? cached : undefined;
  if (before && !fresh && Date.now() - before.readAtMs < maxAgeMs) return before.texts;
  const read = { ids, readAtMs: Date.now(), texts: readAll(ids.split(",").map((id) => id.trim())) };
  cached = read;
  read.texts.catch(() => {
    if (cached === read) cached = before;
  });
  return read.texts;
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
      // Not the message of another error: that of a JSON parser repeats a part of the secret.
      const { name, message } = error as Error;
      const why = readDeadline.aborted ? message : name.replace(/^(Syntax|Type)Error$/, "it is not a JSON object");
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
