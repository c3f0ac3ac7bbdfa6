import { codeOf, type DatabaseTarget } from "../lib/database.ts";
import { errorFields } from "../lib/log.ts";
import { Problem } from "./ledger-checkup.ts";

/** What an error of connecting or logging in means, and what mends it: Node's codes, then Postgres' SQLSTATE. */
export function loginProblem(error: unknown, { host, port, database, username, tls }: DatabaseTarget): Problem {
  const { reason } = errorFields(error);
  const alter = (change: string) => `as a login that may create roles: alter role ${username} ${change}`;
  const remedy = () => {
    switch (codeOf(error)) {
      case "ENOTFOUND":
      case "EAI_AGAIN":
        return "check the host in DATABASE_URL, and this network's DNS";
      case "ECONNREFUSED":
        return "check host and port in DATABASE_URL, and whether Postgres runs and listens there";
      case "ERR_TLS_CERT_ALTNAME_INVALID":
        return "name the host in DATABASE_URL as its certificate does";
      case "3D000":
        return "name the ledger's database in DATABASE_URL; psql -l lists them";
      case "42501":
        return `as the owner of ${database}: grant connect on database ${database} to ${username}`;
      case "28P01":
        return (
          "the password is wrong, has expired, or was never set. Put the same into the secret and into Postgres: " +
          alter("password 'NEW' valid until 'infinity'")
        );
      case "28000":
        if (/not permitted to log in/.test(reason)) return alter("login");
        return tls === "off"
          ? "use ?sslmode=verify-full in DATABASE_URL, or let this address in by pg_hba.conf"
          : "let this address and login in by pg_hba.conf; with IAM, check the token's region and rds-db:connect";
      case "53300":
        return /for role/.test(reason)
          ? `see who has them: select pid, application_name, state, backend_start from pg_stat_activity ` +
              `where usename = '${username}'; or ${alter("connection limit 50")}`
          : "see who has them: select usename, application_name, count(*) from pg_stat_activity group by 1, 2; " +
              "end what is idle, or raise max_connections";
      case "57P03":
        return "wait until Postgres has started, then run it again";
    }
    if (/CERT|UNABLE_TO/.test(codeOf(error))) {
      return (
        "name a file with its certificate authority: NODE_EXTRA_CA_CERTS=ca.pem (for RDS: README, Deploy, step 1); " +
        "for the functions, put your own authority into CA_CERTIFICATES"
      );
    }
    if (/SSL|ECONNRESET/.test(codeOf(error)) && tls !== "off") {
      return `turn TLS on in Postgres, or use ?sslmode=disable where nobody can listen; is port ${port} Postgres' own?`;
    }
    return `check host and port (${host}:${port}), and the network's way there (security groups, VPC)`;
  };
  return new Problem(reason, remedy());
}
