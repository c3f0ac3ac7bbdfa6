import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { parseArgs, parseEnv } from "node:util";
import type { Sql } from "postgres";
import { codeOf, type Database, type DatabaseTarget } from "../lib/database.ts";
import { deadline, orAbort } from "../lib/deadline.ts";
import { errorFields } from "../lib/log.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { connect } from "./connect.ts";
import { loginProblem } from "./login.ts";
import { Problem } from "./look.ts";
import { scramVerifier } from "./scram.ts";
import { readSqlFile } from "./sql.ts";
import { tryRole } from "./trial.ts";

// npm run migrate: makes the schema, the roles and their rights in the database of DATABASE_URL, and tries each role.
const usage = `usage: npm run migrate [-- <options>]

  --schema <name>           the ledger's schema, where your search_path does not lead to it
  --password-from <file>    has lines such as veza_ledger_sampler=…, for roles without a password
  --password-from prompt    asks for them
  --iam                     the functions log in by IAM: grants them rds_iam, where there is that role
  --dry-run                 prints the SQL, and connects to nothing

DATABASE_URL names the ledger's database, and a login that may create roles.`;

const roles = ["veza_ledger_sampler", "veza_ledger_receiver", "veza_ledger_oncall", "veza_ledger"];
const timeoutMs = 30_000;

const grantIam = `\
do $$
begin
  if exists (select from pg_roles where rolname = 'rds_iam') then
    grant rds_iam to veza_ledger_sampler, veza_ledger_receiver;
  end if;
end
$$;
`;

/** Passwords as they were given, by role. */
type Passwords = Map<string, string>;

const { schema, from, iam, isDryRun } = readArguments();
if (isDryRun) {
  console.log(await statementsOf(new Map()));
  process.exit();
}
const url = process.env.DATABASE_URL;
if (!url) {
  console.error(`DATABASE_URL is missing.\n\n${usage}`);
  process.exit(1);
}
let isMigrated = false;
try {
  await migrate(parseDatabaseUrl(url));
} catch (error) {
  const { remedy = isMigrated ? "run it again" : "correct it, then run it again" } = error as Partial<Problem>;
  const before = isMigrated ? "" : "\nNothing was changed.";
  console.error(`✗ ${errorFields(error).reason}\n  → ${remedy}${before}`);
  process.exitCode = 1;
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        schema: { type: "string" },
        "password-from": { type: "string" },
        iam: { type: "boolean", default: false },
        "dry-run": { type: "boolean", default: false },
      },
    });
    return { ...values, from: values["password-from"], isDryRun: values["dry-run"] };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

/** Migrates in one transaction, then tries each role. Throws a Problem when the migration fails. */
async function migrate(target: DatabaseTarget): Promise<void> {
  const given: Passwords = from === undefined || from === "prompt" ? new Map() : await readPasswords(from);
  const database = await open(target);
  const { sql } = database;
  try {
    const { known, lacking } = await lookForPasswords(sql);
    if (from === "prompt") await askForPasswords(lacking, given);
    const set = new Map([...given].filter(([role]) => lacking.includes(role)));
    await apply(sql, await statementsOf(set));
    isMigrated = true;
    say("✓", "migrated", `ledger_metrics, the roles and their rights are in place in ${target.database}`);
    for (const role of set.keys()) say("✓", "password", `${role} has the given one`);
    if (iam && (await sql`select from pg_roles where rolname = 'rds_iam'`).length === 0) {
      say("!", "IAM", "there is no role rds_iam, so nothing was granted", "run it on RDS, or leave --iam out");
    }
    for (const role of roles) await tryOut(role, database, target, given.get(role), known);
    const [row] = await sql`select pg_has_role('veza_ledger_oncall', 'pg_read_all_stats', 'usage') as sees_queries`;
    if (!row?.sees_queries) {
      const grant = "as a superuser, or with the admin option on it: grant pg_read_all_stats to veza_ledger_oncall";
      say("!", "veza_ledger_oncall", "sees who holds a lock, and not the query", grant);
    }
  } finally {
    await database.close();
  }
}

async function open(target: DatabaseTarget): Promise<Database> {
  const connecting = connect(async () => target, "veza-ledger-migrate", deadline("Postgres", timeoutMs));
  const database = await connecting.catch((error) => {
    throw loginProblem(error, target);
  });
  const [row] = await database.sql`select current_setting('server_version_num')::int as version`;
  if (row?.version < 130_000) throw new Problem("PostgreSQL is older than 13", "upgrade it: no older one was tried");
  return database;
}

/** The SQL of one migration, as one transaction. */
async function statementsOf(passwords: Passwords): Promise<string> {
  const parts = ["schema", "roles"].map(async (name) => {
    const text = await readSqlFile(`config/postgres/${name}.sql`);
    return text.replaceAll(/^(begin|commit);\n/gm, "");
  });
  return [
    "begin read write;",
    schema === undefined ? "" : startIn(schema),
    ...(await Promise.all(parts)),
    iam ? grantIam : "",
    ...[...passwords].map(([role, password]) => `alter role ${role} password '${scramVerifier(password)}';`),
    "commit;",
  ]
    .filter(Boolean)
    .join("\n");
}

/** SQL: looks for the ledger in this schema. Fails when the sampler's role has a search_path without it. */
function startIn(schema: string): string {
  const literal = `'${schema.replaceAll("'", "''")}'`;
  return `\
do $$
declare
  chosen text;
  which text;
begin
  select substr(entry, length('search_path=') + 1),
    case setdatabase when 0 then '' else format(' in database %I', current_database()) end into chosen, which
  from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) as entry
  where rolname = 'veza_ledger_sampler' and entry like 'search_path=%'
    and setdatabase in (0, (select oid from pg_database where datname = current_database()))
  order by setdatabase desc limit 1;
  if ${literal} <> all (string_to_array(replace(chosen, '"', ''), ', ')) then
    raise exception 'veza_ledger_sampler looks for the ledger in %, and not in %', chosen, ${literal}
      using hint = format('alter role veza_ledger_sampler%s reset search_path', which);
  end if;
  perform set_config('search_path', quote_ident(${literal}) || ', public', true);
end
$$;
`;
}

/** Runs the migration. Throws a Problem with what mends it. */
async function apply(sql: Sql, statements: string): Promise<void> {
  try {
    await orAbort(sql.unsafe(statements), deadline("Postgres", timeoutMs));
  } catch (error) {
    await sql.unsafe("rollback");
    throw new Problem(errorFields(error).reason, await remedyFor(error as Error & { hint?: string }, sql));
  }
}

async function remedyFor(error: Error & { hint?: string }, sql: Sql): Promise<string> {
  if (error.hint) return `${error.hint}; then run it again`;
  if (/^permission denied for database/.test(error.message)) {
    const [row] = await sql`select datdba::regrole::text as owner, format('grant create on database %I to %I', datname,
      current_user) as grant from pg_database where datname = current_database()`;
    return `as ${row?.owner}: ${row?.grant}; then run it again`;
  }
  const [, closed] = /^permission denied for schema (\w+)$/.exec(error.message) ?? [];
  if (closed) {
    const [row] = await sql`select nspowner::regrole::text as owner from pg_namespace where nspname = ${closed}`;
    return `run it as ${row?.owner}, which made that schema`;
  }
  switch (codeOf(error)) {
    case "42703":
      return "migrate the ledger first, or let the role read a view: docs/what-counts.md";
    case "55P03":
      return "somebody works on ledger_metrics: run it again";
    case "0A000": // A replica.
    case "25006":
      return "name the primary in DATABASE_URL";
    default:
      return "correct it, then run it again";
  }
}

/** Which roles certainly have no password, and which of them are there. Postgres shows passwords to superusers only. */
async function lookForPasswords(sql: Sql): Promise<{ known: string[]; lacking: string[] }> {
  const known = (await sql`select rolname from pg_roles where rolname in ${sql(roles)}`).map(({ rolname }) => rolname);
  const [row] = await sql`select has_column_privilege('pg_authid', 'rolpassword', 'select') as visible`;
  const without = row?.visible
    ? (await sql`select rolname from pg_authid where rolpassword is null`).map(({ rolname }) => rolname)
    : [];
  return { known, lacking: roles.filter((role) => !known.includes(role) || without.includes(role)) };
}

async function readPasswords(file: string): Promise<Passwords> {
  const text = await readFile(file, "utf8").catch((error) => {
    throw new Problem(error.message, "name a file with lines such as veza_ledger_sampler=…");
  });
  const passwords = Object.entries(parseEnv(text)) as [string, string][];
  const strangers = passwords.filter(([role, password]) => !roles.includes(role) || !password);
  if (strangers.length > 0 || passwords.length === 0) {
    throw new Problem(
      `each line of ${file} has to give the password of one of ${roles.join(", ")}`,
      "write lines such as veza_ledger_sampler=…",
    );
  }
  return new Map(passwords);
}

/** Asks without an echo. From a pipe, each line is one answer. */
async function askForPasswords(lacking: string[], given: Passwords): Promise<void> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: process.stdin.isTTY });
  const lines = reader[Symbol.asyncIterator]();
  for (const role of lacking) {
    process.stderr.write(`Password of ${role} (empty: none): `);
    const { value = "" } = await lines.next();
    process.stderr.write("\n");
    if (value) given.set(role, value);
  }
  reader.close();
}

/** Tries a role, by its own log-in where its password was given, and says what came of it. */
async function tryOut(
  role: string,
  database: Database,
  target: DatabaseTarget,
  password: string | undefined,
  known: string[],
): Promise<void> {
  try {
    if (password === undefined) {
      const did = await tryRole(database, role, { setRole: true });
      const isNew = !known.includes(role) && !(iam && /sampler|receiver/.test(role));
      say("✓", role, `tried: ${did}${isNew ? ". It has no password yet" : ""}`);
      return;
    }
    const own = { ...target, username: role, password };
    const connecting = connect(async () => own, "veza-ledger-migrate", deadline("Postgres", timeoutMs));
    const login = await connecting.catch((error) => {
      const other = "has another password than the given one, and keeps it";
      throw codeOf(error) === "28P01"
        ? new Problem(other, `use that password, or set a new one: alter role ${role} password 'NEW'`)
        : loginProblem(error, own);
    });
    try {
      say("✓", role, `logged in, and tried: ${await tryRole(login, role)}`);
    } finally {
      await login.close();
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    say("✗", role, error.message, error.remedy);
    process.exitCode = 1;
  }
}

function say(mark: string, what: string, fact: string, remedy?: string): void {
  console.log(`${mark} ${what.padEnd(20)} ${fact}${remedy ? `\n  → ${remedy}` : ""}`);
}
