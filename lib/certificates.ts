import tls from "node:tls";

let ownRoots: string[] | undefined;
let trusted = "";

/**
 * Has this process trust these certificates, each in PEM, besides those that it trusts by itself, on every TLS connection that
 * begins from now on: those to Postgres and to the gateway alike. They take the place of the ones that an earlier call gave.
 */
export function trustCertificates(certificates: string[]): void {
  const wanted = certificates.join("\n");
  if (wanted === trusted) return;
  ownRoots ??= tls.getCACertificates("default");
  tls.setDefaultCACertificates([...ownRoots, ...certificates]);
  trusted = wanted;
}
