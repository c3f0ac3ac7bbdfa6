import { deadlineFor, orAbort } from "../deadline.ts";
import { secretsTimeoutMs } from "../limits.ts";

/** A secret could not be read. The message names it, the cause and a remedy, and shows nothing of its value. */
export class SecretsError extends Error {}

export type Texts = Record<string, string | undefined>;

export const loadSdk = () => import("@aws-sdk/client-secrets-manager");
// Loaded at start, when Lambda gives a function its full speed (measured; AWS does not document it): the SDK is by far
// the largest part of the service.
if (process.env.SECRET_ID || process.env.AWS_LAMBDA_FUNCTION_NAME) await loadSdk();

/**
 * Reads the secrets in `ids`, separated by commas, from Secrets Manager, each a JSON object. Asks for each at most
 * `maxAttempts` times. Throws SecretsError.
 */
export async function fetchSecrets(ids: string, maxAttempts: number): Promise<Texts> {
  const { SecretsManagerClient, GetSecretValueCommand } = await loadSdk();
  const client = new SecretsManagerClient({ maxAttempts });
  const readDeadline = deadlineFor("Secrets Manager", secretsTimeoutMs);
  const read = async (id: string) => {
    try {
      const sending = client.send(new GetSecretValueCommand({ SecretId: id }), { abortSignal: readDeadline });
      const { SecretString } = await orAbort(sending, readDeadline);
      const json = JSON.parse(SecretString ?? "");
      if (json === null || typeof json !== "object" || Array.isArray(json)) throw new TypeError();
      return Object.entries(json);
    } catch (error) {
      const why = readDeadline.aborted ? (error as Error).message : causeOf(error as NodeJS.ErrnoException);
      throw new SecretsError(`SECRET_ID: ${id} could not be read: ${why}`);
    }
  };
  try {
    const secrets = await Promise.all(ids.split(",").map((id) => read(id.trim())));
    const entries = secrets.flat().filter(([, value]) => value !== null);
    return Object.fromEntries(entries.map(([name, value]) => [name, `${value}`]));
  } finally {
    client.destroy();
  }
}

/**
 * The cause, by the error's name, never its message: a JSON parser repeats a part of the secret in it.
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
 */
function causeOf({ name, message, code }: NodeJS.ErrnoException): string {
  switch (name) {
    case "AccessDeniedException":
      return /Access to KMS/.test(message)
        ? "AccessDeniedException, KMS: the role lacks kms:Decrypt on the secret's key (kmsKeyArn)"
        : "AccessDeniedException, IAM: the role or its boundary lacks secretsmanager:GetSecretValue on it";
    case "ResourceNotFoundException":
      return "ResourceNotFoundException: no secret of this name in this account and region";
    case "SyntaxError":
    case "TypeError":
      return "it is not a JSON object";
    default:
      if (message === "Region is missing") return "no AWS region is set: set AWS_REGION";
      return code ? `${name}, ${code}` : name;
  }
}
