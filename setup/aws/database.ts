// The ledger's database: its certificate, what is installed there, and the passwords of the functions' logins.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { isOurs } from "../../commands/declared-rights.ts";
import { passwordIn } from "../../commands/oncall/stage.ts";
import { sqlName, sqlText } from "../../commands/quote.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { open, withDeadline } from "../../lib/postgres/database.ts";
import { isPasswordRefused } from "../../lib/postgres/last-good-login.ts";
import { type DatabaseTarget, parseDatabaseUrl } from "../../lib/settings/parse.ts";
import { databaseUrl, trustAuthority } from "../kinds.ts";
import { put } from "./put.ts";
import { functions, readSecret } from "./secrets.ts";
import { Correction, type Stage } from "./stage.ts";
import { ProgramFailed, program, terminal } from "./step.ts";

const rdsAuthorities = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";
const takesMs = 30_000;

/** The file with the authorities of Postgres' certificate, which is fetched from Amazon where the stage names none. */
export async function authorities({ ca }: Stage): Promise<string> {
  if (ca) return path.resolve(ca);
  const file = path.join(homedir(), "rds.pem");
  if (existsSync(file)) return file;
  const bundle = await fetch(rdsAuthorities, { signal: AbortSignal.timeout(takesMs) })
    .then((response) => (response.ok ? response.text() : undefined))
    .catch(() => undefined);
  if (!bundle) {
    throw new Correction(
      "The certificates of RDS were not fetched: does this machine reach truststore.pki.rds.amazonaws.com?",
    );
  }
  put(file, bundle);
  return file;
}

/** Has this process verify Postgres' certificate by them, besides what it trusts already. */
export const trust = async (stage: Stage): Promise<void> => trustAuthority(await authorities(stage));

const given = process.env.PGPASSWORD;
const known = new Map<string, string>();

/**
 * The password of a person's login: PGPASSWORD, of ~/.pgpass, or what somebody types. Says which, since a wrong one of
 * the first two stays wrong however often the line is run.
 */
export async function passwordOf(login: string, database: string): Promise<string> {
  const had = known.get(login);
  if (had !== undefined) return had;
  const file = path.join(homedir(), ".pgpass");
  const target = parseDatabaseUrl(databaseUrl(database, login, "-"));
  const stored = existsSync(file) ? passwordIn(readFileSync(file, "utf8"), target) : undefined;
  if (given || stored) console.log(`Password of ${login}: from ${given ? "PGPASSWORD" : "~/.pgpass"}`);
  const password = given || stored || (await terminal.secret(`Password of ${login}`));
  known.set(login, password);
  return password;
}

/** Runs this SQL on a connection of its own; resolves to the rows of its last statement. */
async function run(target: DatabaseTarget, sql: string): Promise<Record<string, string>[]> {
  const database = open(target, "veza-ledger-aws");
  try {
    const rows = await withDeadline(database, deadlineFor("Postgres", takesMs), (it) => it.unsafe(sql));
    return rows as unknown as Record<string, string>[];
  } finally {
    await database.close();
  }
}

/** Runs a file of SQL as the administrator, by psql: a DBA runs the same. It is one transaction. */
async function runAsAdmin(stage: Stage, file: string, options: string[] = []): Promise<void> {
  const { admin, database } = stage;
  const words = ["-Xwq", "-v", "ON_ERROR_STOP=1", ...options, "-f", file, databaseUrl(database, admin)];
  const code = await program(["psql", ...words], {
    PGPASSWORD: await passwordOf(admin, database),
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: await authorities(stage),
    PGCONNECT_TIMEOUT: "10",
  });
  if (code) throw new ProgramFailed(`psql has ended with ${code}.`);
}

/** Installs, or says what a DBA is to run. */
export async function install(stage: Stage): Promise<void> {
  const { admin, schema, timezone, iam, database } = stage;
  const options = ["-v", `schema=${schema}`, "-v", `timezone=${timezone}`, ...(iam === "yes" ? ["-v", "iam=yes"] : [])];
  const file = "config/postgres/install.sql";
  if (admin !== "none") return await runAsAdmin(stage, file, options);
  console.log(`Your DBA runs, in this folder: psql ${options.join(" ")} -f ${file} postgres://LOGIN@${database}`);
}

/** Takes back what was installed. */
export const uninstall = (stage: Stage): Promise<void> => runAsAdmin(stage, "config/postgres/uninstall.sql");

/** Gives the functions' logins the passwords that the secrets have. */
export async function setPasswords(stage: Stage): Promise<void> {
  for (const name of functions) {
    const { DATABASE_URL } = (await readSecret(stage, name)) ?? {};
    const target = DATABASE_URL ? parseDatabaseUrl(DATABASE_URL) : undefined;
    if (!target?.password) {
      console.log(`Kept: no password in DATABASE_URL of the secret of the ${name}`);
      continue;
    }
    const { username: login, password } = target;
    if (await takes(target)) {
      console.log(`Kept: the password of ${login}`);
      continue;
    }
    const write = `npm run aws -- secret ${stage.stage} ${name}`;
    if (stage.admin === "none" || !isOurs(login)) {
      throw new Correction(`Your DBA gives ${login} a password, by \\password in psql. Write the same one into
DATABASE_URL: ${write}`);
    }
    const url = databaseUrl(stage.database, stage.admin, "-");
    const admin = { ...parseDatabaseUrl(url), password: await passwordOf(stage.admin, stage.database) };
    // A new password would lock out the other stage.
    const [row] = await run(
      admin,
      `set search_path = pg_catalog, pg_temp; select string_agg(distinct datname, ', ') as elsewhere,
          (select stage from ledger_metrics.stage) as owner, current_database() as here
        from pg_database, aclexplode(datacl) as acl
        where grantee = to_regrole(${sqlText(login)})::oid and privilege_type = 'CONNECT'
          and datname <> current_database()`,
    ).then((results) => results.at(-1) as unknown as Record<string, string | null>[]);
    const { elsewhere, owner = null, here } = row ?? {};
    if (owner !== null && owner !== stage.stage) {
      throw new Correction(`No password was changed: the totals in ${here} are of the stage ${owner}, whose functions
use ${login}. Write the database of ${stage.stage} into stages.yml, or see docs/settings.md#one-database-one-stage`);
    }
    if (elsewhere) {
      throw new Correction(`No password was changed: ${login} is in use in ${elsewhere}, too. Copy the password
of that stage's secret into this one's: ${write}`);
    }
    await run(admin, `alter role ${sqlName(login)} password ${sqlText(verifierOf(password))}`);
    if (!(await takes(target))) throw new Error(`Postgres refuses the password of ${login} that it was given`);
    console.log(`Set: the password of ${login}`);
  }
}

/** Whether Postgres takes this login. */
const takes = (target: DatabaseTarget): Promise<boolean> =>
  run(target, "select").then(
    () => true,
    (error) => {
      if (isPasswordRefused(error)) return false;
      throw error;
    },
  );

/** What Postgres keeps of a password (RFC 5803), as \password of psql sends it: no log of the server has more. */
function verifierOf(password: string): string {
  const [salt, iterations] = [randomBytes(16), 4096];
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const keyOf = (whose: string) => createHmac("sha256", salted).update(whose).digest();
  const stored = createHash("sha256").update(keyOf("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${stored}:${keyOf("Server Key").toString("base64")}`;
}
