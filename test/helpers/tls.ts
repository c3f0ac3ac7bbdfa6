import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";

const run = promisify(execFile);

/** A certificate authority of its own, and a server's key and certificate for these names, as files of PEM. */
export async function makeCertificates(subjectAltName: string): Promise<{ ca: string; key: string; cert: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-tls-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
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
  // PostgreSQL wants its key to be its own, and does not run as root.
  if (process.getuid?.() === 0) await run("chown", ["nobody", file("key.pem")]);
  return { ca: file("ca.pem"), key: file("key.pem"), cert: file("cert.pem") };
}
