import { readFileSync } from "node:fs";
import tls from "node:tls";
import { expect, it, vi } from "vitest";
import { makeCertificates } from "../helpers/certificates.ts";

it("trusts an authority besides the certificates of settings that are loaded later, and without any", async () => {
  vi.resetModules(); // As in a process that has loaded no settings yet.
  const { trustAuthority } = await import("../../setup/kinds.ts");
  const { certificatesIn, trustCertificates } = await import("../../lib/settings/certificates.ts");
  const [own, ofSettings] = await Promise.all([makeCertificates("DNS:one"), makeCertificates("DNS:other")]);
  const trusts = (file: string) => {
    const [pem = ""] = certificatesIn(readFileSync(file, "utf8")) ?? [];
    return tls.getCACertificates("default").some((each) => each.trim() === pem.trim());
  };
  trustAuthority(own.ca);
  expect([trusts(own.ca), trusts(ofSettings.ca)]).toEqual([true, false]);
  trustCertificates(certificatesIn(readFileSync(ofSettings.ca, "utf8")) ?? []);
  expect([trusts(own.ca), trusts(ofSettings.ca)]).toEqual([true, true]);
  trustCertificates([]);
  expect([trusts(own.ca), trusts(ofSettings.ca)]).toEqual([true, false]);
});
