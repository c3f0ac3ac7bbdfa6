import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { onTestFinished } from "vitest";
import { type Certificates, makeCertificatesIn } from "./certificates.ts";

/** A certificate authority of its own, and a server's key and certificate for these names; gone with the test. */
export async function makeCertificates(subjectAltName: string): Promise<Certificates> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-tls-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return await makeCertificatesIn(folder, subjectAltName);
}

/** A connection string that encrypts, as production's do. */
export const encrypted = (url: string) => `${url}?sslmode=require`;
