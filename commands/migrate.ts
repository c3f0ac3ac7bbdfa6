import { readFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import type { Sql } from "postgres";
import { codeOf, type Database, type DatabaseTarget, withDeadline } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { errorFields } from "../lib/log.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { command, Misuse, type Out, start } from "./command.ts";
import { connect } from "./connect.ts";
import { loginProblem } from "./login.ts";
import { Problem } from "./look.ts";
import { scramVerifier } from "./scram.ts";
import { quoted, readSqlFile } from "./sql.ts";
import { tryRole } from "./trial.ts";

// npm run migrate: makes the schema, the roles and their rights in the database of DATABASE_URL, and tries each role.
const usage = `usage: npm run migrate [-- <options>]

  --schema <name>         the ledger's schema, if your search_path lacks it
  --password-from <file>  has lines such as veza_ledger_sampler=…, for roles
                          without a password
  --one-login             makes veza_ledger too, for both functions in one
                          process without AWS
  --iam                   the functions log in by IAM: grants them rds_iam,
                          where there is that role
  --dry-run               prints the SQL, and connects to nothing
  -h, --help              prints this

DATABASE_URL names the ledger's database, and a login that may create roles.`;

const options = {
  schema: { type: "string" },
  "password-from": { type: "string" },
  "one-login": { type: "boolean", default: false },
  iam: { type: "boolean", default: false },
  "dry-run": { type: "boolean", default: false },
} as const;

/** One run of the command. */
interface Migration {
  schema: string | undefined;
  oneLogin: boolean;
  iam: boolean;
  target: DatabaseTarget;
  /** Passwords as they were given, by role. */
  given: Passwords;
  /** For all of it, so that a dead link is told within 30 s. */
  limit: AbortSignal;
  out: Out;
  /** What a failure now leaves behind. */
  aftermath: string;
}
type Passwords = Map<string, string>;

const allRoles = ["veza_ledger_sampler", "veza_ledger_receiver", "veza_ledger_oncall", "veza_ledger"];

/** What fixes an error of Postgres, by its SQLSTATE, whatever its language. The errors of roles.sql bring a hint. */
const remedies: Record<string, string> = {
  "42703": "migrate the ledger first, or let the role read a view: docs/what-counts.md",
  "55P03": "somebody else works on ledger_metrics or on the roles: run it again",
  XX000: "somebody else works on the roles: run it again", // Two migrations at once, in databases of one server.
  "0A000": "name the primary in DATABASE_URL", // A replica.
  "25006": "name the primary in DATABASE_URL",
};

const grantIam = `\
do $$
begin
  if exists (select from pg_roles where rolname = 'rds_iam') then
    grant rds_iam to veza_ledger_sampler, veza_ledger_receiver;
  end if;
exception
  when insufficient_privilege then
    raise exception '%', sqlerrm using errcode = 'insufficient_privilege',
      hint = format('as the master user: grant rds_iam to %I with admin option', current_user);
end
$$;
`;

const untouched = "\nNothing was changed.";

/** Migrates the database of DATABASE_URL, or prints its SQL. */
export const run = command(usage, options, async (values, positionals, out) => {
  if (positionals.length > 0) throw new Misuse(`not understood: ${positionals.join(" ")}`);
  const asked = { schema: values.schema, oneLogin: values["one-login"], iam: values.iam };
  if (values["dry-run"]) {
    out.log(await statementsOf(asked, new Map()));
    return 0;
  }
  const url = process.env.DATABASE_URL;
  if (!url) {
    out.error(`DATABASE_URL is missing.\n\n${usage}`);
    return 1;
  }
  const migration = { ...asked, out, limit: deadline("Postgres", 25_000), aftermath: untouched } as Migration;
  try {
    migration.target = parseDatabaseUrl(url);
    migration.given = await readPasswords(values["password-from"]);
    return (await migrate(migration)) ? 0 : 1;
  } catch (error) {
    const { aftermath } = migration;
    const { remedy = aftermath === untouched ? "correct it, then run it again" : "run it again" } =
      error as Partial<Problem>;
    out.error(`✗ ${errorFields(error).reason}\n  → ${remedy}${aftermath}`);
    return 1;
  }
});

/**
 * Migrates in one transaction, then tries each role. Resolves to whether each can do its work. Rejects when the
 * migration fails, or its connection is lost.
 */
async function migrate(migration: Migration): Promise<boolean> {
  const { target, limit } = migration;
  const database = await connect(async () => target, "veza-ledger-migrate", limit).catch((error) => {
    throw loginProblem(error, target);
  });
  try {
    return await withDeadline(database, limit, () => migrateOn(database, migration));
  } finally {
    await database.close();
  }
}

async function migrateOn(database: Database, migration: Migration): Promise<boolean> {
  const { sql } = database;
  const { given, oneLogin, iam, target, out } = migration;
  const [row] = await sql`select current_setting('server_version_num')::int as version`;
  if (row?.version < 130_000) throw new Problem("PostgreSQL is older than 13", "upgrade it: no older one was tried");
  const { known, lacking } = await lookForPasswords(sql);
  const set = new Map([...given].filter(([role]) => lacking.includes(role)));
  if (set.has("veza_ledger") && !known.includes("veza_ledger") && !oneLogin) {
    throw new Problem("veza_ledger is not there, and nobody needs it on AWS", "without AWS, add --one-login");
  }
  await apply(sql, await statementsOf(migration, set), migration);
  say(out, "✓", "migrated", `ledger_metrics, the roles and their rights are in place in ${target.database}`);
  for (const role of set.keys()) say(out, "✓", "password", `${role} has the given one`);
  if (iam && (await sql`select from pg_roles where rolname = 'rds_iam'`).length === 0) {
    say(out, "!", "IAM", "there is no role rds_iam, so nothing was granted", "run it on RDS, or leave --iam out");
  }
  let isWell = true;
  for (const role of allRoles) {
    const isMade = known.includes(role) || role !== "veza_ledger" || oneLogin;
    if (isMade && !(await tryOut(role, database, migration, known))) isWell = false;
  }
  const [may] = await sql`select pg_has_role('veza_ledger_oncall', 'pg_read_all_stats', 'usage') as see_queries`;
  if (!may?.see_queries) {
    const grant = "as a superuser, or with the admin option on it: grant pg_read_all_stats to veza_ledger_oncall";
    say(out, "!", "veza_ledger_oncall", "sees who holds a lock, and not the query", grant);
  }
  return isWell;
}

/** The SQL of one migration, as one transaction. */
async function statementsOf(
  { schema, oneLogin, iam }: Pick<Migration, "schema" | "oneLogin" | "iam">,
  passwords: Passwords,
): Promise<string> {
  const textOf = async (name: string) =>
    (await readSqlFile(`config/postgres/${name}.sql`)).replaceAll(/^(begin|commit);\n/gm, "");
  const [looks, changes] = (await textOf("roles")).split("-- From here on, something changes.\n");
  return [
    "begin read write;",
    oneLogin ? "set local veza_ledger.one_login = on;" : "",
    schema === undefined ? "" : `set local search_path = ${quoted(schema)}, public;`,
    looks,
    await textOf("schema"),
    changes,
    iam ? grantIam : "",
    ...[...passwords].map(([role, password]) => `alter role ${role} password '${scramVerifier(password)}';`),
    "commit;",
  ]
    .filter(Boolean)
    .join("\n");
}

/** Runs the migration. Throws a Problem with what fixes it where Postgres has refused it. */
async function apply(sql: Sql, statements: string, migration: Migration): Promise<void> {
  migration.aftermath = "\nIt is unknown whether it was changed.";
  try {
    await sql.unsafe(statements);
    migration.aftermath = "";
  } catch (error) {
    const { severity, hint, message } = error as Error & { severity?: string; hint?: string };
    if (severity !== "ERROR") throw error; // The session has ended, maybe while it waited for its commit.
    migration.aftermath = untouched;
    const remedy = remedies[codeOf(error)] ?? hint ?? "correct it";
    throw new Problem(message, /run (migrate|it again)/.test(remedy) ? remedy : `${remedy}; then run it again`);
  }
}

/** Which roles certainly have no password, and which of them are there. Postgres shows passwords to superusers only. */
async function lookForPasswords(sql: Sql): Promise<{ known: string[]; lacking: string[] }> {
  const there = await sql`select rolname from pg_roles where rolname in ${sql(allRoles)}`;
  const known = there.map(({ rolname }) => rolname);
  const [row] = await sql`select has_column_privilege('pg_authid', 'rolpassword', 'select') as visible`;
  const without = row?.visible
    ? (await sql`select rolname from pg_authid where rolpassword is null`).map(({ rolname }) => rolname)
    : [];
  return { known, lacking: allRoles.filter((role) => !known.includes(role) || without.includes(role)) };
}

async function readPasswords(file: string | undefined): Promise<Passwords> {
  if (file === undefined) return new Map();
  const text = await readFile(file, "utf8").catch((error) => {
    throw new Problem(error.message, "name a file with lines such as veza_ledger_sampler=…");
  });
  const passwords = Object.entries(parseEnv(text)) as [string, string][];
  const strangers = passwords.filter(([role, password]) => !allRoles.includes(role) || !password);
  if (strangers.length > 0 || passwords.length === 0) {
    throw new Problem(
      `each line of ${file} has to give the password of one of ${allRoles.join(", ")}`,
      "write lines such as veza_ledger_sampler=…",
    );
  }
  return new Map(passwords);
}

/** Tries a role, by its own log-in where its password was given, and says what came of it: whether it is well. */
async function tryOut(
  role: string,
  database: Database,
  { given, iam, target, limit, out }: Migration,
  known: string[],
): Promise<boolean> {
  const password = given.get(role);
  try {
    if (password === undefined) {
      const did = await tryRole(database, role, { setRole: true });
      const isNew = !known.includes(role) && !(iam && /sampler|receiver/.test(role));
      say(out, "✓", role, `tried: ${did}${isNew ? ". It has no password yet" : ""}`);
      return true;
    }
    const own = { ...target, username: role, password };
    const connecting = connect(async () => own, "veza-ledger-migrate", limit);
    const login = await connecting.catch(async (error) => {
      throw (await refusedProblem(error, database.sql, role)) ?? loginProblem(error, own);
    });
    try {
      say(out, "✓", role, `logged in, and tried: ${await tryRole(login, role)}`);
    } finally {
      await login.close();
    }
    return true;
  } catch (error) {
    if (!(error instanceof Problem) || database.lost.aborted) throw error;
    say(out, "✗", role, error.message, error.remedy);
    return false;
  }
}

/** Why Postgres refuses a role with its given password. Only a superuser could see whether it has another password. */
async function refusedProblem(error: unknown, sql: Sql, role: string): Promise<Problem | undefined> {
  if (!/^28/.test(codeOf(error))) return undefined;
  const [row] = await sql`select current_user as me, not rolcanlogin as is_closed, rolvaliduntil < now() as is_expired
    from pg_roles where rolname = ${role}`;
  const alter = (change: string) => `as ${row?.me}: alter role ${role} ${change}; then run it again`;
  if (row?.is_closed) return new Problem("may not log in", alter("login"));
  if (row?.is_expired) return new Problem("has an expired password", alter("valid until 'infinity'"));
  if (codeOf(error) !== "28P01") return undefined;
  return new Problem(
    "has another password than the given one, or none, and keeps what it has",
    "give the password that it has: each database of this server has the same roles, and a new one locks out the " +
      `functions of the others. Where it has none, ${alter("password 'NEW'")}`,
  );
}

function say({ log }: Out, mark: string, what: string, fact: string, remedy?: string): void {
  log(`${mark} ${what.padEnd(20)} ${fact}${remedy ? `\n  → ${remedy}` : ""}`);
}

if (import.meta.main) await start(run);
