import { isLocalHost } from "../../lib/settings.ts";
import { type Finding, well, wrong } from "../finding.ts";
import type { Scene } from "../take-looks.ts";

/** Whether the connection is encrypted and the server verified, unless the server is on this machine. */
export async function lookAtTls({ settings }: Scene): Promise<Finding> {
  const { tls, host } = settings.database;
  if (tls === "verified") return well("certificate verified");
  if (tls === "off" && isLocalHost(host)) return well("not needed on this machine");
  const found = `the connection is ${tls === "off" ? "not encrypted" : "not verified"}`;
  return wrong(found, "encrypted, to a server with a verified certificate", "use sslmode=verify-full");
}
