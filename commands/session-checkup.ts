import type { Database, DatabaseTarget, FindDatabase } from "../lib/database.ts";
import { codeOf } from "../lib/database.ts";
import { errorFields } from "../lib/log.ts";
import { isLocalHost } from "../lib/settings.ts";
import { lockAndReadTotals } from "../lib/totals.ts";
import { connect } from "./connect.ts";
import { orRemedy, Problem } from "./ledger-checkup.ts";
import { loginProblem } from "./login.ts";
import { missingRights } from "./rights.ts";
import { tryDelivery } from "./trial.ts";

// What the doctor looks at in a session of the functions: the log-in, the role's settings and rights, and the totals.

/** Which functions the doctor looks for. */
export interface Functions {
  sampler: boolean;
  receiver: boolean;
}

const oldestVersion = 13;

/** Connects and logs in as the functions do. Throws a Problem that says why it failed. */
export async function reach(
  target: DatabaseTarget,
  find: FindDatabase,
  deadline: AbortSignal,
): Promise<[Database, string]> {
  const database = await connect(find, "veza-ledger-doctor", deadline).catch((error) => {
    throw loginProblem(error, target);
  });
  try {
    const [row] = await database.sql`select current_setting('server_version') as version,
        current_setting('server_version_num')::int / 10000 as major`;
    if (row?.major < oldestVersion) {
      throw new Problem(`PostgreSQL ${row?.version} is too old`, `use PostgreSQL ${oldestVersion} or later`);
    }
    // A pooler in statement mode hangs up when an answer leaves a transaction open.
    await orRemedy(
      database.sql.unsafe("begin").then(() => database.sql.unsafe("rollback")),
      "a pooler before Postgres allows no transaction: set pool_mode = transaction for this database in PgBouncer",
    );
    return [database, `${row?.version} on ${target.host}, as ${target.username}`];
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Throws a Problem where the connection is not encrypted, or the server not verified, and the server is elsewhere. */
export async function lookAtTls({ tls, host }: DatabaseTarget): Promise<[true, string]> {
  if (tls === "verified") return [true, "certificate verified"];
  if (tls === "off" && isLocalHost(host)) return [true, "not needed on this machine"];
  throw new Problem(`the connection is ${tls === "off" ? "not encrypted" : "not verified"}`, "use sslmode=verify-full");
}

const owners: Record<string, string> = {
  veza_ledger_sampler: "the sampler's alone",
  veza_ledger_receiver: "the receiver's alone",
  veza_ledger: "for both functions",
  veza_ledger_oncall: "for people on call",
};

/** Says whose login this is. Throws a Problem when it belongs to somebody else: every other remedy would mislead. */
export async function lookAtLogin({ sql }: Database, { sampler, receiver }: Functions): Promise<[string, string]> {
  const [row] = await sql`select session_user as login`;
  const login = String(row?.login);
  const base = login.replace(/_clone$/, "");
  const fits = ["veza_ledger", !receiver && "veza_ledger_sampler", !sampler && "veza_ledger_receiver"];
  const owner = owners[base];
  if (!owner || fits.includes(base)) return [login, owner ? login : `${login}, which roles.sql does not make`];
  if (sampler && receiver) {
    throw new Problem(`${login} is ${owner}`, "look at one function: npm run doctor -- sampler; or use veza_ledger");
  }
  const wanted = sampler ? "veza_ledger_sampler" : "veza_ledger_receiver";
  throw new Problem(`${login} is ${owner}`, `put the login ${wanted} into this secret: are the two secrets swapped?`);
}

/** Shorter time-outs end statements that work. */
const shortestMs = { statement_timeout: 500, lock_timeout: 200 };

/** Throws a Problem when the session lacks a setting of roles.sql, or has an unworkable value. */
export async function lookAtSettings({ sql }: Database, { sampler, receiver }: Functions): Promise<[true, string]> {
  const rows = await sql`select name, setting, session_user as login from pg_settings`;
  const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
  const login = String(rows[0]?.login);
  const unset: Record<string, string> = {
    statement_timeout: "0",
    lock_timeout: "0",
    idle_in_transaction_session_timeout: "0",
    ...(sampler && { row_security: "on" }),
    ...(receiver && { idle_session_timeout: "0" }),
  };
  const isOurs = /^veza_ledger/.test(login);
  const remedy = isOurs
    ? "npm run migrate (again, for a _clone that AWS' rotation has made)"
    : "use a login of config/postgres/roles.sql: a member of its roles inherits no settings";
  const missing = Object.keys(unset).filter((name) => settings[name] === unset[name]);
  if (settings.default_transaction_isolation !== "read committed") missing.push("default_transaction_isolation");
  if (missing.length > 0) throw new Problem(`${login} has no ${missing.join(", ")}`, remedy);
  for (const [name, ms] of Object.entries(shortestMs)) {
    if (Number(settings[name]) < ms) throw new Problem(`${name} of ${settings[name]} ms is too short`, remedy);
  }
  return [true, `statement ${settings.statement_timeout} ms, lock ${settings.lock_timeout} ms`];
}

/** Throws a Problem when a role of roles.sql reads the ledger in another way than the sampler's role. */
export async function lookAtReading({ sql }: Database): Promise<[true, string]> {
  const rows = await sql`
      with entries as (
        select rolname, split_part(entry, '=', 1) as name, substr(entry, strpos(entry, '=') + 1) as value, setdatabase
        from pg_db_role_setting join pg_roles on pg_roles.oid = setrole, unnest(setconfig) as entry
        where setdatabase in (0, (select oid from pg_database where datname = current_database()))
      ),
      effective as (
        select distinct on (rolname, name) * from entries order by rolname, name, setdatabase desc
      ),
      ours as (select * from effective where rolname = 'veza_ledger_sampler'),
      others as (
        select rolname from pg_roles
        where rolname in ('veza_ledger_sampler_clone', 'veza_ledger', 'veza_ledger_clone', 'veza_ledger_oncall')
      ),
      names as (
        select name from ours union
        select name from effective join others using (rolname)
        where name in ('search_path', 'TimeZone') or name like '%.%'
      )
      select others.rolname as role, name, coalesce(theirs.value, 'the default') as theirs,
        coalesce(ours.value, 'the default') as ours
      from others cross join names
        left join effective as theirs using (rolname, name)
        left join ours using (name)
      where theirs.value is distinct from ours.value
        -- The limits of a role are its own.
        and name !~ '^(default_transaction_.*|synchronous_commit|.*_timeout|role)$'
      order by role, name`;
  const [first] = rows;
  if (!first) return [true, "all roles read the ledger as veza_ledger_sampler does"];
  const { role, name, theirs, ours } = first;
  const more = rows.length > 1 ? `, and ${rows.length - 1} more such` : "";
  throw new Problem(`${role} reads with ${name} ${theirs}, veza_ledger_sampler with ${ours}${more}`, "npm run migrate");
}

/** Throws a Problem with the grants that a function's login lacks, or that people on call lack. */
export async function lookAtRights({ sql }: Database, { sampler, receiver }: Functions): Promise<[true, string]> {
  const bases = [sampler && "veza_ledger_sampler", receiver && "veza_ledger_receiver"].filter((base) => base !== false);
  const [row] = await sql`select session_user as login, to_regrole('veza_ledger_oncall') is not null as has_oncall`;
  const login = String(row?.login);
  const look = async (role: string, needs: string[], grantee: string) => {
    const missing = await missingRights((question) => sql.unsafe(question), role, needs, grantee);
    if (missing.length === 0) return;
    throw new Problem(`${role} lacks rights`, missing.length > 3 ? "npm run migrate" : missing.join("; "));
  };
  await look(login, bases, login.replace(/^(veza_ledger\w*)_clone$/, "$1"));
  if (sampler && row?.has_oncall) await look("veza_ledger_oncall", ["veza_ledger_oncall"], "veza_ledger_oncall");
  return [true, sampler ? "all that are needed, and those of people on call" : "all that are needed"];
}

/** Records a delivery, locks and reads the totals, and takes both back. Throws a Problem when that fails. */
export async function lookAtTotals({ sql }: Database, { receiver }: Functions): Promise<[true, string]> {
  const migrate = "npm run migrate";
  const [row] =
    await sql`select to_regnamespace('ledger_metrics') is null as is_missing, pg_is_in_recovery() as is_replica,
      current_setting('synchronous_commit') = 'off' as forgets,
      (select source from pg_settings where name = 'default_transaction_read_only') as read_only_by,
      quote_ident(session_user) as login, quote_ident(datname) as database, datdba::regrole::text as owner
      from pg_database where datname = current_database()`;
  if (row?.is_replica) throw new Problem("not published from a replica", "name the primary in DATABASE_URL");
  if (row?.is_missing) throw new Problem('schema "ledger_metrics" does not exist', migrate);
  const attempt = async (may: string, begin: string, work: () => PromiseLike<unknown>) => {
    try {
      if (begin) await sql.unsafe(begin);
      await work();
    } catch (error) {
      if (codeOf(error) === "42501") throw new Problem(`the role may not ${may} ledger_metrics`, migrate);
      if (codeOf(error) === "25006") {
        throw new Problem("default_transaction_read_only is on: each delivery is answered with 503", remedyFor(error));
      }
      throw new Problem(errorFields(error).reason, remedyFor(error));
    } finally {
      await sql.unsafe("rollback").catch(() => {}); // For the same reason, when that fails too.
    }
  };
  const remedyFor = (error: unknown) => {
    if (codeOf(error) !== "25006") return codeOf(error) === "55P03" ? "run it again" : migrate;
    const { login, database, owner } = row ?? {};
    const reset = "reset default_transaction_read_only";
    const bySource: Record<string, string> = {
      database: `as ${owner}: begin read write; alter database ${database} ${reset}; commit`,
      user: `as a login that may create roles: alter role ${login} ${reset}`,
      "database user": `as a login that may create roles: alter role ${login} in database ${database} ${reset}`,
    };
    return bySource[row?.read_only_by] ?? "have the server take writes: default_transaction_read_only is on for all";
  };
  await attempt("read", "", () => sql.unsafe(lockAndReadTotals));
  if (!receiver) return [true, "ledger_metrics is there, and readable"];
  await attempt("write to", "begin", () => tryDelivery(sql));
  if (row?.forgets) {
    throw new Problem("a crash of Postgres would lose what was answered (synchronous_commit is off)", migrate);
  }
  return [true, "ledger_metrics is there, and writable"];
}
