import { X509Certificate } from "node:crypto";
import tls from "node:tls";

let ownRoots: string[] | undefined;
let trusted: string[] = [];
/** The last bundle that was whole; parsing 100 certificates takes 5 ms, and each delivery would. */
let latest = { bundle: "", certificates: trusted };

/** Returns the certificates in a bundle, PEM text with comments between them; undefined when it is no such bundle. */
export function certificatesIn(bundle: string): string[] | undefined {
  if (bundle === latest.bundle) return latest.certificates;
  const pem = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
  const certificates: string[] = bundle.match(pem) ?? [];
  const isWhole = !bundle.trim() || (certificates.length > 0 && !bundle.replace(pem, "").includes("-----"));
  if (!isWhole) return undefined;
  try {
    for (const certificate of certificates) new X509Certificate(certificate);
  } catch {
    return undefined;
  }
  latest = { bundle, certificates };
  return certificates;
}

/**
 * Trusts these certificates in addition to this process's own roots, on every TLS connection from now on. They replace
 * the certificates of an earlier call.
 */
export function trustCertificates(certificates: string[]): void {
  if (certificates === trusted) return;
  ownRoots ??= tls.getCACertificates("default");
  tls.setDefaultCACertificates([...ownRoots, ...certificates]);
  trusted = certificates;
}
