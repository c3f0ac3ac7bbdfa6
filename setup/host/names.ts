// The names of a host: the one file that people edit. It is data, and nothing of it is run.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { parsePort, receiverPort } from "../../commands/address.ts";
import { certificatesIn } from "../../lib/settings/certificates.ts";
import { parseDatabaseUrl } from "../../lib/settings/parse.ts";
import { authorityProblem, databaseUrl, type Kind, kinds, matching, type Texts } from "../kinds.ts";
import { example, type Names, readNames } from "../names.ts";
import { put } from "./files.ts";
import { isQuotable } from "./settings.ts";

export const namesFile = "/etc/veza-ledger-metrics.yml";
/** The system's authorities, which a bare host has not yet. */
const ofSystem = "/etc/ssl/certs/ca-certificates.crt";
/** Amazon's authorities for RDS, which are fetched. */
const ofAmazon = "/etc/ssl/certs/rds.pem";
const servers = ["prometheus", "prometheus-pushgateway", "prometheus-alertmanager"];
const someServers = `some of ${servers.join(", ")}`;

/** A kind whose text becomes a setting. */
const setting = ({ words, problem }: Kind): Kind => ({
  words,
  problem: (text, all) =>
    problem(text, all) ?? (isQuotable(text) ? undefined : "has ' beside \" or \\: no file of settings can have both"),
});

const kindsOfHost = {
  database: setting(kinds.database),
  ca: setting({ words: kinds.ca.words, problem: caProblem }),
  schema: setting(kinds.schema),
  timezone: setting(kinds.timezone),
  reader: kinds.reader,
  admin: kinds.admin,
  stage: setting(kinds.stage),
  servers: {
    words: someServers,
    problem(text) {
      const other = text.split(/\s+/).find((each) => !servers.includes(each));
      if (other !== undefined) return `has ${JSON.stringify(other)}: write ${someServers}`;
      return hasApt() ? undefined : "come by apt-get, which is not here: leave it empty";
    },
  },
  gateway: setting(kinds.gateway),
  token: setting(kinds.token),
  prometheus: kinds.prometheus,
  alertmanager: kinds.alertmanager,
  name: matching("this host's DNS name", /^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$/),
  certificate: { words: "its path", problem: certificateProblem },
  key: { words: "its path", problem: keyProblem },
  port: matching("a number up to 65535", (text) => parsed(() => parsePort(text)) !== undefined),
  repository: kinds.repository,
  grafana: kinds.grafana,
  hyperswitch: kinds.hyperswitch,
} as const satisfies Record<string, Kind>;

export type NamesOfHost = Record<keyof typeof kindsOfHost, string>;

const defaults = { ca: ofSystem, schema: "public", timezone: "UTC", port: String(receiverPort) };

/** Reads and checks all names, and fetches Amazon's authorities where they are asked for. */
export async function readNamesOfHost(text: string): Promise<Names<keyof NamesOfHost>> {
  const needed = ["database", "reader", "admin", "gateway", "prometheus", "alertmanager", "repository", "grafana"];
  const how = {
    file: namesFile,
    kinds: kindsOfHost,
    defaults,
    needed: [...needed, ...Object.keys(defaults)] as (keyof NamesOfHost)[],
  };
  const read = readNames(text, how);
  if (read.texts.ca !== ofAmazon || existsSync(ofAmazon)) return read;
  try {
    await fetchAuthorities();
  } catch (error) {
    const problem = `${read.where("ca")} cannot be fetched: is there a network? ${(error as Error).message}`;
    return { ...read, problems: [...read.problems, problem] };
  }
  return readNames(text, how);
}

/** The names as the removal needs them: it goes on where a certificate has expired or a file is gone. */
export function readNamesToLeave(text: string): Names<keyof NamesOfHost> {
  const unchecked: Kind = { words: "", problem: () => undefined };
  const { database, admin } = kindsOfHost;
  const loose = Object.fromEntries(Object.keys(kindsOfHost).map((name) => [name, unchecked]));
  return readNames(text, {
    file: namesFile,
    kinds: { ...(loose as Record<keyof NamesOfHost, Kind>), database, admin },
    defaults,
    needed: ["database", "admin"],
    isExample: /^$/,
  });
}

/** What the shell has of the names: their texts, and what is made of them. */
export function variablesOf(texts: NamesOfHost): Texts {
  const { database, reader, admin } = texts;
  return {
    ...texts,
    sslmode: parseDatabaseUrl(databaseUrl(database, admin)).tls === "off" ? "disable" : "verify-full",
    reader_url: databaseUrl(database, reader),
    admin_url: databaseUrl(database, admin),
    service_url: databaseUrl(database, "veza_ledger"),
    oncall_url: databaseUrl(database, "veza_ledger_oncall"),
  };
}

/** The file of authorities has to be there, and the service's user has to be able to read it. */
function caProblem(file: string): string | undefined {
  // ./setup installs the one, and has fetched the other, or says that it could not.
  if ((file === ofSystem || file === ofAmazon) && !existsSync(file)) return undefined;
  const problem = authorityProblem(file);
  if (problem) return problem;
  if (/^\/(root|home)\//.test(file)) return "is where the service cannot read it: move it to /etc/ssl/certs";
  if ((statSync(file).mode & 0o004) === 0) return `is closed to the service: run chmod a+r ${file}`;
  return undefined;
}

/** Throws where they cannot be had. */
async function fetchAuthorities(): Promise<void> {
  const url = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";
  const answer = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  const bundle = await answer.text();
  if (!answer.ok || !certificatesIn(bundle)?.length) throw new Error(`Amazon answers ${answer.status}`);
  put(ofAmazon, bundle, 0o644);
}

/** With a certificate that is none, or of another name, nginx does not start, or nobody can deliver. */
function certificateProblem(file: string, { name = "", key = "" }: Texts): string | undefined {
  if (!name) return "is for a name, which is empty: write that, too, or leave certificate and key empty";
  if (!key) return "has no key: write that, too, or leave both empty";
  const pem = contentOf(file);
  if (!pem) return `names no file that can be read: ${file}`;
  const certificate = parsed(() => new X509Certificate(pem));
  if (!certificate) return `is no certificate in PEM: ${file}`;
  if (certificate.validToDate < new Date()) return `has expired: ${file}`;
  if (!example.test(name) && !certificate.checkHost(name)) return `is not for ${name}: ${file}`;
  return undefined;
}

function keyProblem(file: string, { certificate = "" }: Texts): string | undefined {
  if (!certificate) return "is for a certificate, which is empty: write that, too, or leave both empty";
  const pem = contentOf(file);
  if (!pem) return `names no file that can be read: ${file}`;
  const key = parsed(() => createPrivateKey(pem));
  if (!key) return `is no key in PEM, or needs a password: ${file}`;
  const x509 = parsed(() => new X509Certificate(contentOf(certificate)));
  return x509 && !x509.checkPrivateKey(key) ? `is not the key of ${certificate}` : undefined;
}

const hasApt = () => (process.env.PATH ?? "").split(":").some((folder) => existsSync(`${folder}/apt-get`));

/** A file's text; empty where it cannot be read. */
const contentOf = (file: string): string => parsed(() => readFileSync(file, "utf8")) ?? "";

function parsed<Value>(parse: () => Value): Value | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
