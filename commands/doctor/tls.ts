// The look "TLS": whether the connection to Postgres is encrypted, and the server verified. Also what to do where the
// log-in fails because of TLS.
import { accessSync, constants } from "node:fs";
import { codeOf } from "../../lib/postgres/database.ts";
import { isLocalHost } from "../../lib/settings/settings.ts";
import { type Finding, type Step, well, wrong } from "./finding.ts";
import type { GatewayScene } from "./scene.ts";

/** Whether the connection is encrypted and the server verified, unless the server is on this machine. */
export async function lookAtTls({ settings }: Pick<GatewayScene, "settings">): Promise<Finding> {
  const { tls, host } = settings.database;
  if (tls === "verified") return well("certificate verified");
  if (tls === "off" && isLocalHost(host)) return well("not needed on this machine");
  const found = `the connection is ${tls === "off" ? "not encrypted" : "not verified"}`;
  return wrong(found, "encrypted, to a server with a verified certificate", "use sslmode=verify-full");
}

/** What to do where a connection with TLS fails with this code of Node's. Undefined where TLS is not the reason. */
export function tlsSteps(code: string, port: number): Step[] | undefined {
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return ["name the host in the URL as its certificate does"];
  if (/CERT|UNABLE_TO/.test(code)) {
    return [
      unreadable(process.env.NODE_EXTRA_CA_CERTS) ??
        "name a file with its certificate authority: NODE_EXTRA_CA_CERTS=ca.pem (for RDS: docs/first-day.md)",
      "for the functions, put your own authority into CA_CERTIFICATES",
    ];
  }
  if (/SSL|ECONNRESET/.test(code)) {
    return [`turn TLS on in Postgres, or use ?sslmode=disable where nobody can listen; is port ${port} Postgres' own?`];
  }
  return undefined;
}

/** What to do about a file that Node could not read at its start, and then left out. Undefined where it can. */
function unreadable(file: string | undefined): Step | undefined {
  if (!file) return undefined;
  try {
    accessSync(file, constants.R_OK);
    return undefined;
  } catch (error) {
    return `NODE_EXTRA_CA_CERTS is ${file}, which cannot be read (${codeOf(error)}): correct that path`;
  }
}
