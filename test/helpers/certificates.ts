import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { generate } from "selfsigned";
import { newFolder } from "./temporary-folder.ts";

export interface Certificates {
  ca: string;
  key: string;
  cert: string;
}

/** Makes a certificate authority, and a server's key and certificate for these names, as PEM files. */
export async function makeCertificates(subjectAltName: string): Promise<Certificates> {
  const folder = await newFolder();
  await chmod(folder, 0o755);
  const file = (name: string) => path.join(folder, name);
  const key = { keyType: "ec", algorithm: "sha256" } as const;
  const named = (name: string) => [{ name: "commonName", value: name }];
  // OpenSSL looks for an issuer by its name alone, since these certificates name no key.
  const authority = await generate(named(`Test CA ${randomUUID()}`), {
    ...key,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, critical: true },
    ],
  });
  const altNames = subjectAltName.split(",").map((entry) => {
    const value = entry.replace(/^\w+:/, "");
    return entry.startsWith("IP:") ? ({ type: 7, ip: value } as const) : ({ type: 2, value } as const);
  });
  const server = await generate(named("postgres"), {
    ...key,
    ca: { key: authority.private, cert: authority.cert },
    extensions: [{ name: "subjectAltName", altNames }],
  });
  await writeFile(file("ca.pem"), authority.cert);
  await writeFile(file("cert.pem"), server.cert);
  await writeFile(file("key.pem"), server.private, { mode: 0o600 });
  // PostgreSQL has to own its key, and does not run as root.
  if (process.getuid?.() === 0) await promisify(execFile)("chown", ["nobody", file("key.pem")]);
  return { ca: file("ca.pem"), key: file("key.pem"), cert: file("cert.pem") };
}

/** What a PostgreSQL needs to take connections with TLS, and without. */
export const tlsFlags = ({ key, cert }: Certificates) =>
  ["ssl=on", `ssl_cert_file=${cert}`, `ssl_key_file=${key}`].flatMap((setting) => ["-c", setting]);
