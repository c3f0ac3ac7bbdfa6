import { readFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import type { Sql } from "postgres";
import { codeOf, type Database, type DatabaseTarget, withDeadline } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { command, Misuse, type Out, start } from "./command.ts";
import { connect } from "./connect.ts";
import { doubt, type Finding, findingOf, orRemedy, Problem, type Step, well } from "./finding.ts";
import { loginProblem } from "./login-problem.ts";
import { linesOf } from "./print.ts";
import { scramVerifier } from "./scram.ts";
import { literal, readSqlFile } from "./sql.ts";
import { tryRole } from "./trial.ts";

// npm run migrate: makes the schema, the roles and their rights in the database of DATABASE_URL, and tries each role.
const usage = `usage: npm run migrate [-- <options>]

  --schema <name>         the ledger's schema, if your search_path lacks it
  --password-from <file>  has lines such as veza_ledger_sampler=…, for roles
                          that it makes
  --one-login             makes veza_ledger too, for both functions in one
                          process without AWS
  --iam                   the functions log in by IAM: grants them rds_iam
  -h, --help              prints this

DATABASE_URL names the ledger's database, and a login that may create roles.`;

const options = {
  schema: { type: "string" },
  "password-from": { type: "string" },
  "one-login": { type: "boolean", default: false },
  iam: { type: "boolean", default: false },
} as const;

/** One run of the command. */
interface Migration {
  schema: string | undefined;
  oneLogin: boolean;
  iam: boolean;
  target: DatabaseTarget;
  /** Passwords as they were given, by role. */
  given: Map<string, string>;
  /** For all of it, so that a dead link is told within 30 s. */
  limit: AbortSignal;
  out: Out;
  /** What a failure now leaves behind. */
  aftermath: string;
}

const allRoles = ["veza_ledger_sampler", "veza_ledger_receiver", "veza_ledger_oncall", "veza_ledger"];

/** What fixes an error of Postgres, by its SQLSTATE, whatever its language. The errors of roles.sql bring a hint. */
const remedies: Record<string, Step[]> = {
  "55P03": ["somebody else works on ledger_metrics: run it again"],
  "0A000": ["name the primary in DATABASE_URL", "run it again"], // A replica.
};

const grantIam = `\
do $$
begin
  grant rds_iam to veza_ledger_sampler, veza_ledger_receiver;
exception
  when undefined_object then
    raise exception '%', sqlerrm using errcode = 'undefined_object',
      hint = E'leave --iam out, or name a database of RDS in DATABASE_URL\\nrun it again';
  when insufficient_privilege then
    raise exception '%', sqlerrm using errcode = 'insufficient_privilege',
      hint = format(E'as the master user: grant rds_iam to %I with admin option\\nrun it again', current_user);
end
$$;
`;

const untouched = "\nNothing was changed.";

/** Migrates the database of DATABASE_URL. */
export const run = command(usage, options, async (values, positionals, out) => {
  if (positionals.length > 0) throw new Misuse(`not understood: ${positionals.join(" ")}`);
  const asked = { schema: values.schema, oneLogin: values["one-login"], iam: values.iam };
  const migration = { ...asked, out, limit: deadline("Postgres", 25_000), aftermath: untouched } as Migration;
  try {
    migration.target = await orRemedy(
      Promise.try(() => parseDatabaseUrl(process.env.DATABASE_URL ?? "")),
      "correct it, then run it again",
    );
    migration.given = await readPasswords(values["password-from"], asked.oneLogin);
    return (await migrate(migration)) ? 0 : 1;
  } catch (error) {
    out.error(linesOf("migrated", findingOf(error)) + migration.aftermath);
    return 1;
  }
});

/**
 * Migrates in one transaction, then tries each role. Resolves to whether each can do its work. Rejects when the
 * migration fails, or its connection is lost.
 */
async function migrate(migration: Migration): Promise<boolean> {
  const { target, limit } = migration;
  const database = await logIn(target, limit);
  try {
    return await withDeadline(database, limit, () => migrateOn(database, migration));
  } finally {
    await database.close();
  }
}

/** Connects and logs in. Throws a Problem with what fixes it. */
function logIn(target: DatabaseTarget, limit: AbortSignal): Promise<Database> {
  return connect(async () => target, "veza-ledger-migrate", limit).catch((error) => {
    throw loginProblem(error, target);
  });
}

async function migrateOn(database: Database, migration: Migration): Promise<boolean> {
  const { sql } = database;
  const { given, oneLogin, iam, out } = migration;
  const [row] = await sql`select current_setting('server_version_num')::int as version`;
  if (row?.version < 130_000) throw new Problem("PostgreSQL is older than 13", "upgrade it: no older one was tried");
  const there = await sql`select rolname from pg_roles where rolname in ${sql(allRoles)}`;
  const known = there.map(({ rolname }) => rolname);
  const passwords = [...given].filter(([role]) => !known.includes(role));
  await apply(sql, await statementsOf(migration, passwords), migration);
  let isWell = true;
  for (const role of allRoles.filter((name) => name !== "veza_ledger" || oneLogin || known.includes(name))) {
    const needsPassword =
      !known.includes(role) && !given.has(role) && !((iam || oneLogin) && /sampler|receiver/.test(role));
    const finding = await tryOut(role, database, migration);
    if (needsPassword && finding.mark !== "✗") finding.found += ". It has no password yet";
    out.log(linesOf(role, finding));
    if (finding.mark === "✗") isWell = false;
  }
  const [may] = await sql`select pg_has_role('veza_ledger_oncall', 'pg_read_all_stats', 'usage') as see_queries`;
  if (!may?.see_queries) {
    const grant = { as: "a superuser", sql: "grant pg_read_all_stats to veza_ledger_oncall" };
    out.log(linesOf("veza_ledger_oncall", doubt("sees who holds a lock, and not the query", "both", grant)));
  }
  return isWell;
}

/** The SQL of one migration, as one transaction. */
async function statementsOf({ schema, oneLogin, iam }: Migration, passwords: [string, string][]): Promise<string> {
  const textOf = (name: string) => readSqlFile(`config/postgres/${name}.sql`, ["begin;", "commit;"]);
  const [looks, changes] = (await textOf("roles")).split("-- From here on, something changes.\n");
  return [
    "begin read write;",
    oneLogin ? "set local veza_ledger.one_login = on;" : "",
    schema === undefined ? "" : `set local veza_ledger.schema = ${literal(schema)};`,
    looks,
    await textOf("schema"),
    changes,
    iam ? grantIam : "",
    ...passwords.map(([role, password]) => `alter role ${role} password '${scramVerifier(password)}';`),
    "commit;",
  ]
    .filter(Boolean)
    .join("\n");
}

/** Runs the migration, and says so. Throws a Problem with what fixes it where Postgres has refused it. */
async function apply(sql: Sql, statements: string, migration: Migration): Promise<void> {
  migration.aftermath = "\nIt is unknown whether it was changed.";
  try {
    await sql.unsafe(statements);
    migration.aftermath = "";
    const inPlace = `ledger_metrics, the roles and their rights are in place in ${migration.target.database}`;
    migration.out.log(linesOf("migrated", well(inPlace)));
  } catch (error) {
    const { severity, hint, message } = error as Error & { severity?: string; hint?: string };
    if (severity !== "ERROR") throw error; // The session has ended, maybe while it waited for its commit.
    migration.aftermath = untouched;
    // roles.sql writes a step on each line.
    throw new Problem(message, ...(remedies[codeOf(error)] ?? hint?.split("\n") ?? ["correct it", "run it again"]));
  }
}

/** Reads passwords from a file with lines such as `veza_ledger_sampler=…`, by role. */
async function readPasswords(file: string | undefined, oneLogin: boolean): Promise<Migration["given"]> {
  if (file === undefined) return new Map();
  const text = await readFile(file, "utf8").catch((error) => {
    throw new Problem(error.message, "name a file with lines such as veza_ledger_sampler=…");
  });
  // A shell that reads the file would not end a word there, as parseEnv does.
  if (/^\w+=[^'"\n]*#/m.test(text)) throw new Problem(`there is a # in ${file}`, "put the password into single quotes");
  const passwords = Object.entries(parseEnv(text)) as [string, string][];
  const roles = allRoles.filter((role) => role !== "veza_ledger" || oneLogin);
  if (passwords.length === 0 || !passwords.every(([role, password]) => roles.includes(role) && password)) {
    throw new Problem(
      `each line of ${file} has to give the password of one of ${roles.join(", ")}`,
      "write lines such as veza_ledger_sampler=…; a line for veza_ledger needs --one-login",
    );
  }
  return new Map(passwords);
}

/** Logs in as a role where its password was given, and tries the role. */
async function tryOut(role: string, database: Database, { given, target, limit }: Migration): Promise<Finding> {
  const password = given.get(role);
  try {
    if (password !== undefined) await (await logIn({ ...target, username: role, password }, limit)).close();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return findingOf(error);
  }
  const finding = await tryRole(database.sql, role);
  if (password !== undefined && finding.mark === "✓") finding.found = `logged in, and ${finding.found}`;
  return finding;
}

if (import.meta.main) await start(run);
