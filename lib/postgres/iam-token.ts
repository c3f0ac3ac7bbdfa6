import { SignatureV4 } from "@smithy/signature-v4";
import { deadlineFor, orAbort } from "../deadline.ts";
import { credentialsTimeoutMs } from "../limits.ts";
import { loadSdk } from "../settings/secrets.ts";
import type { DatabaseTarget } from "../settings/settings.ts";

/**
 * Makes the password for one login by IAM: a request to connect, signed with this process's AWS credentials. RDS
 * takes it for 15 minutes. No call to AWS where the credentials are in the environment, as on Lambda. The form is
 * https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html.
 *
 * Throws the SDK's error when there are no credentials, and an Error of its own when they take over 2 s.
 */
export async function iamToken({ host, port, username }: DatabaseTarget): Promise<string> {
  const { SecretsManagerClient } = await loadSdk();
  const { credentials, region, sha256 } = new SecretsManagerClient({}).config; // As the SDK finds them.
  const signer = new SignatureV4({ service: "rds-db", credentials, region, sha256 });
  const address = `${host}:${port}`;
  const request = { method: "GET", protocol: "https:", hostname: host, path: "/", headers: { host: address } };
  const signing = signer.presign({ ...request, query: { Action: "connect", DBUser: username } }, { expiresIn: 900 });
  const { query } = await orAbort(signing, deadlineFor("AWS credentials", credentialsTimeoutMs));
  return `${address}/?${new URLSearchParams(query as Record<string, string>)}`;
}
