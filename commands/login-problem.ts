import { codeOf, type DatabaseTarget } from "../lib/database.ts";
import { isPasswordRefused } from "../lib/last-good-login.ts";
import { errorFields } from "../lib/log.ts";
import { Problem, type Step } from "./finding.ts";
import { sqlName, sqlText } from "./quote.ts";

/**
 * What an error of connecting or logging in means, and what fixes it: Node's codes, then Postgres' SQLSTATE. `url` is
 * where the target was named.
 */
export function loginProblem(error: unknown, target: DatabaseTarget, url = "DATABASE_URL"): Problem {
  const { host, port, tls } = target;
  const { reason } = errorFields(error);
  const [database, username] = [sqlName(target.database), sqlName(target.username)];
  // By the name of Postgres' own function: its messages come in the server's language.
  const isAboutRole = (error as { routine?: string }).routine === "InitializeSessionUserId";
  const alter = (change: string) => ({ as: "a login that may create roles", sql: `alter role ${username} ${change}` });
  const remedy = (): Step[] => {
    if (isPasswordRefused(error)) {
      return [
        "the password is wrong, has expired, was never set, or a pooler lacks it: give the right one",
        "or set a new one, for every database of this server:",
        alter("password 'NEW' valid until 'infinity'"),
      ];
    }
    switch (codeOf(error)) {
      case "ENOTFOUND":
      case "EAI_AGAIN":
        return [`check the host in ${url}, and this network's DNS`];
      case "ECONNREFUSED":
        return [`check host and port in ${url}, and whether Postgres runs and listens there`];
      case "ERR_TLS_CERT_ALTNAME_INVALID":
        return [`name the host in ${url} as its certificate does`];
      case "3D000":
        return [`name the ledger's database in ${url}; psql -l lists them`];
      case "42501":
        return [{ as: `the owner of ${database}`, sql: `grant connect on database ${database} to ${username}` }];
      case "28000":
        if (isAboutRole) return ["npm run migrate if there is no such role. Otherwise:", alter("login")];
        return tls === "off"
          ? [`use ?sslmode=verify-full in ${url}, or let this address in by pg_hba.conf`]
          : ["let this address and login in by pg_hba.conf; with IAM, check the token's region and rds-db:connect"];
      case "53300":
        return isAboutRole
          ? [
              "see who has them: select pid, application_name, state, backend_start from pg_stat_activity " +
                `where usename = ${sqlText(target.username)}`,
              alter("connection limit 50"),
            ]
          : [
              "see who has them: select usename, application_name, count(*) from pg_stat_activity group by 1, 2",
              "end what is idle, or raise max_connections",
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
      return [
        `turn TLS on in Postgres, or use ?sslmode=disable where nobody can listen; is port ${port} Postgres' own?`,
      ];
    }
    return [`check host and port (${host}:${port}), and the network's way there (security groups, VPC)`];
  };
  return new Problem(reason, ...remedy());
}
