// What all clients of AWS have in common: limits, and credentials.
import { fromNodeProviderChain } from "@aws-sdk/credential-providers";
import { terminal } from "./step.ts";

/** Of a client of AWS': the SDK itself would wait for a mute server for ever. */
export const limits = {
  requestHandler: {
    connectionTimeout: 10_000,
    socketTimeout: 60_000,
    requestTimeout: 60_000,
    throwOnRequestTimeout: true,
  },
};

/**
 * Finds credentials as each program of AWS does. Where the profile asks for a code of MFA, this asks for it once, and
 * hands the session on to Serverless and to the doctor, by the environment: they cannot ask. Rejects where there are no
 * credentials.
 */
export async function askForMfa(): Promise<void> {
  let asked = false;
  const mfaCodeProvider = (serial: string) => {
    asked = true;
    return terminal.line(`Code of MFA for ${serial}`);
  };
  const { accessKeyId, secretAccessKey, sessionToken } = await fromNodeProviderChain({ mfaCodeProvider })();
  if (!asked) return;
  delete process.env.AWS_PROFILE; // It would win.
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  });
}
