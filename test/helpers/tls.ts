import { type Certificates, makeCertificatesIn } from "./certificates.ts";
import { newFolder } from "./temporary-folder.ts";

/** A certificate authority of its own, and a server's key and certificate for these names. */
export const makeCertificates = async (subjectAltName: string): Promise<Certificates> =>
  makeCertificatesIn(await newFolder(), subjectAltName);

/** A connection string that encrypts, as production's do. */
export const encrypted = (url: string) => `${url}?sslmode=require`;
