// What Postgres stores in the place of a password.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";

/**
 * What Postgres stores of a password (RFC 5803), to be given to `alter role … password` in its place: no log of the
 * server then shows the password. Throws when it has characters that would have to be normalized first (RFC 4013).
 */
export function scramVerifier(password: string, salt = randomBytes(16), iterations = 4096): string {
  if (!/^[\x21-\x7e]+$/.test(password)) throw new Error("a password must be printable ASCII without spaces");
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const keyOf = (name: string) => createHmac("sha256", salted).update(name).digest();
  const storedKey = createHash("sha256").update(keyOf("Client Key")).digest();
  const base64 = (bytes: Buffer) => bytes.toString("base64");
  return `SCRAM-SHA-256$${iterations}:${base64(salt)}$${base64(storedKey)}:${base64(keyOf("Server Key"))}`;
}
