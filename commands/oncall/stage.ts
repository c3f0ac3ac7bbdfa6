// The addresses of a stage, which a file of people on call begins with. It holds no password.
import { readFileSync } from "node:fs";
import type { Target } from "../../lib/postgres/database.ts";
import { Refusal } from "./terminal.ts";

/** Each address is empty where the stage has none. */
export interface Stage {
  /** Empty for a stage without a name. */
  name: string;
  /** Empty without AWS. */
  awsRegion: string;
  prometheus: string;
  alertmanager: string;
  /** Without a password; a user stays in it. */
  gateway: string;
  gatewayAsks: "" | "password" | "token";
  hyperswitch: string;
  /** As `postgres://veza_ledger_oncall@host:5432/database`. */
  database: string;
  /** As libpq has them. */
  sslMode: string;
  sslRootCert: string;
  schema: string;
  timeZone: string;
}

declare global {
  /** What the first lines of a stage's file set. */
  var stageOnCall: Stage | undefined;
}

/** Where Postgres is. `login` stands in for veza_ledger_oncall, or is a URL of its own. */
export function targetOf(stage: Stage, login: string, password: string): Target {
  const url = new URL(login.includes("://") ? login : stage.database);
  const tls = { disable: "off", allow: "unverified", prefer: "unverified", require: "unverified" } as const;
  const mode = stage.sslMode as keyof typeof tls;
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: Number(url.port || 5432),
    database: decodeURIComponent(url.pathname.slice(1)),
    username: login.includes("://") ? decodeURIComponent(url.username) : login,
    password,
    tls: tls[mode] ?? "verified",
    ...(stage.sslRootCert && !Object.hasOwn(tls, mode) && { certificates: certificates(stage.sslRootCert) }),
    ledger: { schema: stage.schema, timeZone: stage.timeZone },
  };
}

function certificates(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    throw new Refusal(
      `Postgres cannot be verified: ${file} is not here. For RDS, this gets it:`,
      `curl -sSfo '${file}' https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem`,
    );
  }
}

/** The password that a file like ~/.pgpass has for a login, or undefined. */
export function passwordIn(text: string, { host, port, database, username }: Omit<Target, "password">) {
  const wanted = [host, String(port), database, username];
  for (const line of text.split("\n").filter((line) => !line.startsWith("#"))) {
    const fields = (line.match(/(?:\\.|[^:\\])*(?::|$)/g) ?? []).map((field) =>
      field.replace(/:$/, "").replaceAll(/\\(.)/g, "$1"),
    );
    if (fields.length >= 5 && wanted.every((value, place) => ["*", value].includes(fields[place] ?? ""))) {
      return fields[4];
    }
  }
  return undefined;
}
