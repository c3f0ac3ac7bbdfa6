import { execFile } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Certificates {
  ca: string;
  key: string;
  cert: string;
}

/** Makes a certificate authority, and a server's key and certificate for these names, as PEM files in this folder. */
export async function makeCertificatesIn(folder: string, subjectAltName: string): Promise<Certificates> {
  await chmod(folder, 0o755);
  const file = (name: string) => path.join(folder, name);
  const openssl = (...args: string[]) => run("openssl", args);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await openssl("req", "-x509", ...newKey, "-keyout", file("ca.key"), "-out", file("ca.pem"), "-subj", "/CN=Test CA");
  await openssl("req", ...newKey, "-keyout", file("key.pem"), "-out", file("request.pem"), "-subj", "/CN=postgres");
  await writeFile(file("names"), `subjectAltName=${subjectAltName}`);
  await openssl(
    ...["x509", "-req", "-in", file("request.pem"), "-CA", file("ca.pem"), "-CAkey", file("ca.key")],
    ...["-CAcreateserial", "-extfile", file("names"), "-out", file("cert.pem")],
  );
  await chmod(file("key.pem"), 0o600);
  // PostgreSQL has to own its key, and does not run as root.
  if (process.getuid?.() === 0) await run("chown", ["nobody", file("key.pem")]);
  return { ca: file("ca.pem"), key: file("key.pem"), cert: file("cert.pem") };
}

/** What a PostgreSQL needs to take connections with TLS, and without. */
export const tlsFlags = ({ key, cert }: Certificates) =>
  ["ssl=on", `ssl_cert_file=${cert}`, `ssl_key_file=${key}`].flatMap((setting) => ["-c", setting]);
