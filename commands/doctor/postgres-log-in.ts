// Logs in, and knows what to do where that fails.

import { errorFields } from "../../lib/log.ts";
import { codeOf, type Database } from "../../lib/postgres/database.ts";
import { isPasswordRefused } from "../../lib/postgres/last-good-login.ts";
import { AnsweredByReplica } from "../../lib/postgres/own-answer.ts";
import type { DatabaseTarget } from "../../lib/settings/settings.ts";
import { connect } from "../connect.ts";
import { Problem, type Step } from "./finding.ts";
import { installAgain } from "./shared-steps.ts";
import { tlsSteps } from "./tls.ts";

/** Connects as the functions do, by this name, and logs in until `limit`. Throws a Problem with what fixes it. */
export function logIn(target: DatabaseTarget, name: string, limit: AbortSignal): Promise<Database> {
  return connect(async () => target, name, limit).catch((error) => {
    if (error instanceof AnsweredByReplica) throw error;
    throw new Problem(errorFields(error).reason, ...remedyFor(error, target));
  });
}

/** By Node's codes, and by Postgres' SQLSTATE. */
const known: Record<string, Step> = {
  ENOTFOUND: "check the host in the URL, and this network's DNS",
  ECONNREFUSED: "check host and port in the URL, and whether Postgres runs and listens there",
  "3D000": "name the ledger's database in the URL; psql -l lists them",
  "42501": installAgain,
  "53300": "see who has them in pg_stat_activity, and end what is idle",
  "57P03": "wait until Postgres has started, then run it again",
};

function remedyFor(error: unknown, { host, port, tls, password }: DatabaseTarget): Step[] {
  const code = codeOf(error);
  if (isPasswordRefused(error)) {
    // Instead of a password, it was a token. RDS takes it for a password where the login is no member of rds_iam.
    if (password === undefined) {
      const harm = "no login of ours may have a password in another database of the server, which this would end";
      return [`run npm run aws -- install STAGE again, which grants rds_iam: docs/deploy.md; ${harm}`];
    }
    return [
      "the password is wrong, has expired, was never set, or a pooler lacks it: give the right one, or set it by " +
        "\\password in psql",
    ];
  }
  // By the name of Postgres' own function: its messages come in the server's language.
  if ((error as { routine?: string }).routine === "InitializeSessionUserId") {
    return ["see this role by \\du in psql; if there is none, run config/postgres/install.sql"];
  }
  if (code === "28000") {
    return [
      tls === "off"
        ? "use ?sslmode=verify-full in the URL, or let this address in by pg_hba.conf"
        : "let this address and login in by pg_hba.conf; with IAM, check the token's region and rds-db:connect",
    ];
  }
  const step = known[code];
  if (step) return [step];
  if ((error as Error).name === "CredentialsProviderError") {
    return [
      "without a password in DATABASE_URL, it logs in by IAM: give this shell AWS credentials, or use a password",
    ];
  }
  const ofTls = tls === "off" ? undefined : tlsSteps(code, port);
  return ofTls ?? [`check host and port (${host}:${port}), and the network's way there (security groups, VPC)`];
}
