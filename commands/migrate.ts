import { readFile } from "node:fs/promises";
import { parseEnv } from "node:util";
import { codeOf, type Database, type DatabaseTarget, withDeadline } from "../lib/database.ts";
import { deadline } from "../lib/deadline.ts";
import { parseDatabaseUrl } from "../lib/settings.ts";
import { command, Misuse, type Out, start } from "./command.ts";
import { doubt, type Finding, findingOf, Problem, well, wrong } from "./finding.ts";
import { logIn } from "./log-in.ts";
import { apply, type Shares } from "./plan/apply.ts";
import type { Plan, Wanted } from "./plan/plan.ts";
import { roles as declared } from "./plan/rights.ts";
import { inLine, scriptOf, undoScriptOf } from "./plan/script.ts";
import { linesOf } from "./print.ts";
import { scramVerifier } from "./scram.ts";
import { tryRole } from "./trial.ts";

// npm run migrate: makes the schema, the roles and their rights in the database of DATABASE_URL, or prints how.
const usage = `usage: npm run migrate [-- <options>]

  --print                 prints the statements, and runs none
  --undo                  prints the statements that take it back
  --schema <name>         the ledger's schema, where several have its tables;
                          more than one, in their order
  --password-from <file>  has lines such as veza_ledger_sampler=…, for roles
                          that it makes
  --one-login             makes veza_ledger too, for both functions in one
                          process without AWS
  --iam                   the functions log in by IAM: grants them rds_iam
  -h, --help              prints this

DATABASE_URL names the ledger's database, and a login that may create roles.
To print, any login will do.`;

const options = {
  print: { type: "boolean", default: false },
  undo: { type: "boolean", default: false },
  schema: { type: "string", multiple: true, default: [] as string[] },
  "password-from": { type: "string" },
  "one-login": { type: "boolean", default: false },
  iam: { type: "boolean", default: false },
} as const;

/** One run of the command. */
interface Migration extends Omit<Wanted, "passwords"> {
  print: boolean;
  undo: boolean;
  target: DatabaseTarget;
  /** Passwords as they were given, by role. */
  given: Map<string, string>;
  /** For all of it, so that a dead link is told within 30 s. */
  limit: AbortSignal;
  out: Out;
  /** What to say about changes if it fails now. */
  aftermath: string;
}

const allRoles = Object.keys(declared);

/** Remedies by SQLSTATE, since messages come in the server's language. A replica answers with the second. */
const remedies: Record<string, string> = {
  "55P03": "somebody else works on ledger_metrics: run it again",
  "0A000": "name the primary in DATABASE_URL, and run it again",
};

const untouched = "\nNothing was changed.";

/** Migrates the database of DATABASE_URL. */
export const run = command(usage, options, async (values, positionals, out) => {
  if (positionals.length > 0) throw new Misuse(`not understood: ${positionals.join(" ")}`);
  const { undo, schema: schemas, iam } = values;
  const asked = { print: values.print || undo, undo, schemas, oneLogin: values["one-login"], iam };
  const migration = { ...asked, out, limit: deadline("Postgres", 25_000), aftermath: untouched } as Migration;
  try {
    migration.target = parseDatabaseUrl(process.env.DATABASE_URL ?? "");
    migration.given = await readPasswords(values["password-from"], asked.oneLogin);
    const database = await logIn(migration.target, "veza-ledger-migrate", migration.limit);
    const work = withDeadline(database, migration.limit, () => migrate(database, migration));
    return (await work.finally(database.close)) ? 0 : 1;
  } catch (error) {
    out.error(linesOf("migrated", findingOf(error)) + migration.aftermath);
    return 1;
  }
});

/**
 * Migrates in one transaction, then tries each role. Resolves to whether each can do its work. Rejects when the
 * migration fails, or its connection is lost.
 */
async function migrate({ sql }: Database, migration: Migration): Promise<boolean> {
  const { given, oneLogin, iam, target, print, undo, out } = migration;
  const [row] = await sql.unsafe("show server_version_num");
  if (Number(row?.server_version_num) < 130_000) throw new Problem("PostgreSQL is older than 13", "upgrade it");
  const { plan, ...shares } = await applied(sql, migration);
  const known = plan.facts.roles.map(({ name }) => name);
  const getsPassword = (role: string) => given.has(role) && !print; // A script has none.
  const mayLack = (role: string) =>
    !known.includes(role) && !getsPassword(role) && !((iam || oneLogin) && /sampler|receiver/.test(role));
  const logins = allRoles.filter((name) => name !== "veza_ledger" || oneLogin || known.includes(name));
  if (print) {
    out.log(undo ? undoScriptOf(plan) : scriptOf(plan, logins.filter(mayLack)));
    return true;
  }
  for (const sentence of plan.sentences) out.log(linesOf("rights", doubt("below a view", "its owner's", sentence)));
  const optional = shares.others.filter(({ isOptional }) => isOptional);
  if (shares.others.length > optional.length) {
    out.error(linesOf("migrated", unfinished(plan, shares)) + (shares.mine.length > 0 ? "" : untouched));
    return false;
  }
  const ran = shares.mine.length > 0 ? `statements: ${shares.mine.length}` : "nothing to do";
  const inPlace = `ledger_metrics, the roles and their rights are in place in ${target.database}: ${ran}`;
  out.log(linesOf("migrated", well(inPlace)));
  let isWell = true;
  for (const role of logins) {
    const finding = await tryOut(role, migration);
    if (mayLack(role)) finding.found += ". It has no password yet";
    out.log(linesOf(role, finding));
    if (finding.mark === "✗") isWell = false;
  }
  for (const { as, sql: statement } of optional) {
    const grant = { as, sql: statement };
    out.log(linesOf("veza_ledger_oncall", doubt("sees who holds a lock, and not the query", "both", grant)));
  }
  return isWell;
}

/** What is left to others. Up to a dozen statements are told. More are for the DBA. */
function unfinished({ facts }: Plan, { mine, others }: Shares): Finding {
  const needed = others.filter(({ isOptional }) => !isOptional);
  const fact = `${facts.login} ran ${mine.length} statements, and may not run ${needed.length}`;
  if (needed.length <= 12)
    return wrong(fact, "all of them", ...needed.map(({ as, sql }) => ({ as, sql: inLine(sql) })));
  const print = "npm run --silent migrate -- --print >plan.sql, with the same options";
  return wrong(fact, "all of them", print, "give plan.sql to your DBA, who reads it and runs it with psql");
}

/** Runs the plan. Throws a Problem with what fixes it where Postgres has refused it. */
async function applied(sql: Database["sql"], migration: Migration) {
  const { print, given } = migration;
  const passwords = print ? [] : [...given].map(([role, password]) => [role, scramVerifier(password)] as const);
  try {
    const onCommit = () => {
      migration.aftermath = "\nIt is unknown whether it was changed.";
    };
    const done = await apply(sql, { ...migration, passwords: new Map(passwords) }, onCommit);
    migration.aftermath = "";
    return done;
  } catch (error) {
    const { severity, message } = error as Error & { severity?: string };
    if (severity !== "ERROR") throw error; // A Problem, or the session has ended, maybe while it waited for its commit.
    migration.aftermath = untouched;
    throw new Problem(message, remedies[codeOf(error)] ?? "correct it, and run it again");
  }
}

/** Reads passwords from a file with lines such as `veza_ledger_sampler=…`, by role. */
async function readPasswords(file: string | undefined, oneLogin: boolean): Promise<Migration["given"]> {
  if (file === undefined) return new Map();
  const text = await readFile(file, "utf8").catch((error) => {
    throw new Problem(error.message, "name a file with lines such as veza_ledger_sampler=…");
  });
  // parseEnv takes it for the start of a comment, and a shell does not.
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

/** Logs in as a role where its password was given, and tries it there: nothing of the ledger's runs as this login. */
async function tryOut(role: string, { given, target, limit }: Migration): Promise<Finding> {
  const password = given.get(role);
  if (password === undefined) return well("has its rights and settings; npm run doctor tries it");
  try {
    const database = await logIn({ ...target, username: role, password }, "veza-ledger-migrate", limit);
    return await withDeadline(database, limit, (sql) => tryRole(sql, role)).finally(() => database.close());
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return findingOf(error);
  }
}

if (import.meta.main) await start(run);
