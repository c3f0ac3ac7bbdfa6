// The look "TLS": whether the connection to Postgres is encrypted, and the server verified.
import { statSync } from "node:fs";
import path from "node:path";
import { isLocalHost } from "../../lib/settings.ts";
import { doubt, type Finding, well, wrong } from "./finding.ts";
import type { GatewayScene } from "./scene.ts";

/** Whether the connection is encrypted and the server verified, unless the server is on this machine. */
export async function lookAtTls({ settings }: Pick<GatewayScene, "settings">): Promise<Finding> {
  const { tls, host } = settings.database;
  const authorities = process.env.NODE_EXTRA_CA_CERTS;
  if (tls === "verified" && authorities && !isForAll(path.resolve(authorities), 4)) {
    const found = `certificate verified, by ${authorities}, which other users may not read`;
    return doubt(found, "a file that the service's user can read", "move it, or let that user read it");
  }
  if (tls === "verified") return well("certificate verified");
  if (tls === "off" && isLocalHost(host)) return well("not needed on this machine");
  const found = `the connection is ${tls === "off" ? "not encrypted" : "not verified"}`;
  return wrong(found, "encrypted, to a server with a verified certificate", "use sslmode=verify-full");
}

/** Whether every user has this right (4: read, 1: pass) to a file or folder, and passes all folders above it. */
function isForAll(place: string, right: number): boolean {
  const above = path.dirname(place);
  return (statSync(place).mode & right) !== 0 && (above === place || isForAll(above, 1));
}
