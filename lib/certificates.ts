import { X509Certificate } from "node:crypto";
import tls from "node:tls";

let ownRoots: string[] | undefined;
/** Cache of the last bundle; parsing 100 certificates takes 5 ms, and each delivery would. */
let trusted = "";

/**
 * Trusts the certificates in `bundle`, PEM text with comments between them, in addition to this process's own roots, on
 * every TLS connection from now on. They replace the certificates of an earlier call. Returns false, and changes
 * nothing, when the text is no such bundle.
 */
export function trustCertificates(bundle: string): boolean {
  if (bundle === trusted) return true;
  const pem = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
  const certificates: string[] = bundle.match(pem) ?? [];
  const isWhole = !bundle.trim() || (certificates.length > 0 && !bundle.replace(pem, "").includes("-----"));
  if (!isWhole || !certificates.every(isCertificate)) return false;
  ownRoots ??= tls.getCACertificates("default");
  tls.setDefaultCACertificates([...ownRoots, ...certificates]);
  trusted = bundle;
  return true;
}

function isCertificate(pem: string): boolean {
  try {
    return Boolean(new X509Certificate(pem));
  } catch {
    return false;
  }
}
