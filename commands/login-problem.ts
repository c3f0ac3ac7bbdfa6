import { codeOf, type DatabaseTarget } from "../lib/database.ts";
import { isPasswordRefused } from "../lib/last-good-login.ts";
import { errorFields } from "../lib/log.ts";
import { Problem, type Step } from "./finding.ts";
import { sqlName } from "./quote.ts";

/** What an error of connecting or logging in means, and what fixes it. */
export const loginProblem = (error: unknown, target: DatabaseTarget): Problem =>
  new Problem(errorFields(error).reason, ...remedyFor(error, target));

/** By Node's codes, then by Postgres' SQLSTATE. */
function remedyFor(error: unknown, { host, port, tls, ...target }: DatabaseTarget): Step[] {
  const [database, username] = [sqlName(target.database), sqlName(target.username)];
  // By the name of Postgres' own function: its messages come in the server's language.
  const isAboutRole = (error as { routine?: string }).routine === "InitializeSessionUserId";
  const alter = (change: string) => ({ as: "a login that may create roles", sql: `alter role ${username} ${change}` });
  if (isPasswordRefused(error)) {
    return [
      "the password is wrong, was never set, or a pooler lacks it: give the right one, or set it by \\password in psql",
      "or it has expired: have the role valid until 'infinity'",
    ];
  }
  switch (codeOf(error)) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return ["check the host in the URL, and this network's DNS"];
    case "ECONNREFUSED":
      return ["check host and port in the URL, and whether Postgres runs and listens there"];
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return ["name the host in the URL as its certificate does"];
    case "3D000":
      return ["name the ledger's database in the URL; psql -l lists them"];
    case "42501":
      return [{ as: `the owner of ${database}`, sql: `grant connect on database ${database} to ${username}` }];
    case "28000":
      if (isAboutRole) return ["npm run migrate if there is no such role. Otherwise:", alter("login")];
      return tls === "off"
        ? ["use ?sslmode=verify-full in the URL, or let this address in by pg_hba.conf"]
        : ["let this address and login in by pg_hba.conf; with IAM, check the token's region and rds-db:connect"];
    case "53300":
      return [
        "see who has them: select usename, application_name, count(*) from pg_stat_activity group by 1, 2",
        isAboutRole ? alter("connection limit 50") : "end what is idle, or raise max_connections",
      ];
    case "57P03":
      return ["wait until Postgres has started, then run it again"];
  }
  if (/CERT|UNABLE_TO/.test(codeOf(error))) {
    return [
      "name a file with its certificate authority: NODE_EXTRA_CA_CERTS=ca.pem (for RDS: README, Deploy, step 1)",
      "for the functions, put your own authority into CA_CERTIFICATES",
    ];
  }
  if (/SSL|ECONNRESET/.test(codeOf(error)) && tls !== "off") {
    return [`turn TLS on in Postgres, or use ?sslmode=disable where nobody can listen; is port ${port} Postgres' own?`];
  }
  return [`check host and port (${host}:${port}), and the network's way there (security groups, VPC)`];
}
