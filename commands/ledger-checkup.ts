import type { Row, Sql } from "postgres";
import { type Check, checks, questionOf, stateOf } from "../lib/checks.ts";
import type { Database } from "../lib/database.ts";
import { errorFields } from "../lib/log.ts";

// What the doctor looks at in the ledger: every reason for a wrong or unknown count that it can see.

/** What is wrong, and how to mend it. A doubt may be nothing: only the reader can tell. */
export class Problem extends Error {
  readonly remedy: string;
  readonly isDoubt: boolean;
  constructor(message: string, remedy: string, isDoubt = false) {
    super(message);
    this.remedy = remedy;
    this.isDoubt = isDoubt;
  }
}

/** Resolves as `work` does, and turns any error of it into a Problem with this remedy. */
export async function orRemedy<T>(work: PromiseLike<T>, remedy: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new Problem(errorFields(error).reason, remedy);
  }
}

const isAboutPolicies = ({ message }: { message: string }) => /row-level security/.test(message);

const view = "let the role read a view instead: docs/what-counts.md";
const roles = "run config/postgres/roles.sql";

/** Every statement of the sampler, to paste into psql. */
export function statements(): string {
  const texts = [
    "-- Ask as the sampler's login: its rights, search_path, zone and row_security decide what it sees.",
    ...checks.map((check) => `-- ${check.id}\n${questionOf(check, { withOldest: true })};`),
    "-- The counts alone, for a check whose oldest row cannot be had.",
    ...checks.map((check) => `-- ${check.id}\n${questionOf(check, { withOldest: false })};`),
  ];
  return texts.join("\n\n");
}

/** Tells a replica from the primary, and throws a Problem when it is behind by over half a minute. */
export async function lookAtServer({ sql }: Database): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql`select pg_is_in_recovery() as is_replica,
      extract(epoch from now() - pg_last_xact_replay_timestamp())::float8 as behind_seconds`,
    "run it again",
  );
  if (!row?.is_replica) return [true, "the primary"];
  const remedy =
    "name the primary in DATABASE_URL, or mend the replication; a primary where nothing happens looks the same";
  if (row.behind_seconds === null) throw new Problem("a replica that has replayed nothing yet", remedy);
  if (row.behind_seconds > 30) {
    throw new Problem(
      `a replica whose last transaction is ${ago(row.behind_seconds)} old: newer rows do not count`,
      remedy,
    );
  }
  return [true, `a replica, whose last transaction is ${ago(row.behind_seconds)} old`];
}

/**
 * Looks for the table that a check finds under this name: where it is, how large, whether rows of it are hidden, and
 * whether another schema has one too. Throws a Problem for what makes counts wrong or unknown.
 */
export async function lookAtTable({ sql }: Database, table: string): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql`
      select session_user as login, current_setting('search_path') as search_path,
        found.relnamespace::regnamespace::text as schema, row_security_active(found.oid) as hides_rows,
        (select string_agg(distinct other.relnamespace::regnamespace::text, ', ') from pg_class as other
          where other.relname = ${table} and other.oid <> found.oid and other.relkind in ('r', 'p', 'v', 'm', 'f')
            and other.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
            and not exists (
              select from pg_depend join pg_rewrite on classid = 'pg_rewrite'::regclass and pg_rewrite.oid = objid
              where ev_class = found.oid and refobjid = other.oid)) as others,
        (select string_agg(distinct relnamespace::regnamespace::text, ', ') from pg_class
          where relname = ${table} and relkind in ('r', 'p', 'v', 'm', 'f')) as anywhere
      from (select to_regclass(${table}) as oid) as name left join pg_class as found using (oid)`,
    "run it again",
  );
  const setPath = (schema: string) =>
    `alter role ${row?.login} set search_path = ${schema}, public; ` +
    `${roles} with PGOPTIONS='-c search_path=${schema},public'`;
  if (!row?.schema) {
    if (!row?.anywhere) throw new Problem("there is no such table", "migrate the ledger");
    throw new Problem(
      `it is in ${row.anywhere}, where the role does not look: its search_path is ${row.search_path}`,
      setPath(row.anywhere),
    );
  }
  const isHidden = new Problem(
    `row-level security is on in ${row.schema}, so that its counts are unknown`,
    `alter role ${row.login} bypassrls, or ${view}`,
  );
  if (row.hides_rows) throw isHidden;
  const [plan] = await briefly(sql, `explain (format json) select from ${table}`).catch((error) => {
    // Behind a view that asks as its caller.
    throw isAboutPolicies(error) ? isHidden : new Problem(errorFields(error).reason, roles);
  });
  const rows = `rows: about ${Number(plan?.["QUERY PLAN"][0].Plan["Plan Rows"]).toLocaleString("en")}`;
  if (row.others) {
    throw new Problem(
      `in ${row.schema}, ${rows}; there is another one in ${row.others}`,
      `if that is the ledger: ${setPath(row.others)}`,
      true,
    );
  }
  const [some] = await orRemedy(briefly(sql, `select exists (select from ${table}) as exist`), roles);
  if (!some?.exist) {
    throw new Problem(
      `in ${row.schema}, and empty`,
      "if the ledger is elsewhere: name its database, or set the role's search_path",
      true,
    );
  }
  return [true, `in ${row.schema}, ${rows}`];
}

/**
 * Looks at the type of a table's time. A time without a zone is right only in its writer's zone: the newest row tells, if
 * it was written just now. Throws a Problem for a type that no minutes can be counted by.
 */
export async function lookAtTime({ sql }: Database, table: string, column: string): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql`
      select coalesce(nullif(typbasetype, 0), atttypid)::regtype::text as type, session_user as login,
        current_setting('timezone') as zone,
        (select source in ('user', 'database user') from pg_settings where name = 'TimeZone') as is_chosen
      from pg_attribute join pg_type on pg_type.oid = atttypid
      where attrelid = to_regclass(${table}) and attname = ${column} and not attisdropped`,
    "run it again",
  );
  if (!row) throw new Problem(`there is no ${column}`, `migrate the ledger, or ${view}`);
  if (row.type === "timestamp with time zone") return [true, `${column} is a ${row.type}`];
  if (row.type !== "timestamp without time zone") {
    throw new Problem(`${column} is a ${row.type}, which cannot be compared with a time of day`, view);
  }

  const remedy = `alter role ${row.login} set timezone = 'UTC', or the zone of the process that writes ${column}`;
  if (!row.is_chosen)
    throw new Problem(`${column} has no zone, and is read in the server's default, ${row.zone}`, remedy);
  const newest = `select extract(epoch from now() - max(${column})::timestamptz)::float8 as age
    from ${table} where isfinite(${column})`;
  const [written] = await briefly(sql, newest).catch(() => []); // May take too long, or not be granted.
  const age = written?.age;
  const reading = `${column} has no zone, and is read as ${row.zone}`;
  if (typeof age !== "number") throw new Problem(reading, `if that is not the writer's: ${remedy}`, true);
  if (age < -60) throw new Problem(`${reading}, by which the newest row is ${ago(-age)} ahead`, remedy);
  if (age > 900)
    throw new Problem(`${reading}, by which the newest row is ${ago(age)} old`, `if it is younger: ${remedy}`, true);
  return [true, `${reading}, by which the newest row is ${ago(age)} old`];
}

/**
 * Looks whether the role can ask a check, whether an index serves it, and whether rows have its status. Throws a Problem
 * for the first of these that is not so.
 */
export async function lookAtCheck(database: Database, check: Check): Promise<[true, string]> {
  const remedies: Record<string, string> = {
    "42P01": "the table is missing: migrate the ledger, or mind the role's search_path",
    "42703": `the column is missing: migrate the ledger, or ${view}`,
    "42501": `the role may not read it: ${roles}`,
    "42883": `the column's type does not fit: ${view}`,
    "22P02": `the column has no such value: ${view}`,
  };
  const remedyFor = (error: { code: string; message: string }) =>
    isAboutPolicies(error)
      ? "see its table, above"
      : (remedies[error.code] ?? "paste its query into psql: npm run doctor -- sampler --sql");
  let withoutOldest: Problem | undefined;
  const plan = await planOf(database, questionOf(check, { withOldest: true })).catch(async (error) => {
    const problem = new Problem(errorFields(error).reason, remedyFor(error));
    const countPlan = await planOf(database, questionOf(check, { withOldest: false })).catch(() => undefined);
    if (!countPlan) throw problem;
    withoutOldest = new Problem(`counts, and does not know the oldest row: ${problem.message}`, problem.remedy, true);
    return countPlan;
  });
  if (/Seq Scan/.test(JSON.stringify(plan))) {
    const byStatus = `create index concurrently on ${check.table} (status) where ${stateOf(check)}`;
    const remedy = withoutOldest ? byStatus : "run config/postgres/indexes.sql";
    throw new Problem("no index serves it: it reads the whole table every minute", remedy);
  }
  if (withoutOldest) throw withoutOldest;
  if (!(await isStatusKnown(database, check))) {
    throw new Problem(
      `no row, type or constraint knows the status '${check.status}'`,
      `none may have it today; if a release has renamed it, ${view}`,
      true,
    );
  }
  return [true, "columns readable, an index serves it"];
}

/** The plan of a query, with an index if any serves it: on a small table the planner would read all of it. */
function planOf({ sql }: Database, query: string): Promise<unknown> {
  return briefly(sql, `explain (format json) ${query}`, "set local enable_seqscan = off");
}

/** Runs a query on the ledger, with limits for a login that has none, and with further settings. */
async function briefly(sql: Sql, query: string, settings = ""): Promise<Row[]> {
  return await sql.begin("read only", async (transaction) => {
    await transaction.unsafe(`set local statement_timeout = '1500ms'; set local lock_timeout = '500ms'; ${settings}`);
    return await transaction.unsafe(query);
  });
}

/** Whether a row has the status, or the column's type, a constraint or statistics name it. True on an empty table. */
async function isStatusKnown({ sql }: Database, { table, status }: Check): Promise<boolean> {
  // May take too long on a large table without its index; then the rest has to tell.
  const query = `select exists (select from ${table} where status = '${status}')
    or not exists (select from ${table}) as known`;
  const [row] = await briefly(sql, query).catch(() => []);
  if (row?.known) return true;
  const [declared] = await orRemedy(
    sql`
      select exists (select from pg_enum where enumtypid = atttypid and enumlabel = ${status})
        or exists (select from pg_constraint where conrelid = attrelid and contype = 'c' and attnum = any (conkey)
          and strpos(pg_get_constraintdef(pg_constraint.oid), quote_literal(${status}::text)) > 0)
        or exists (select from pg_stats
          where tablename = ${table} and to_regclass(format('%I.%I', schemaname, tablename)) = attrelid
          and pg_stats.attname = 'status' and ${status} = any (most_common_vals::text::text[])) as known
      from pg_attribute where attrelid = to_regclass(${table}) and attname = 'status' and not attisdropped`,
    "run it again",
  );
  return declared?.known ?? false;
}

/** A duration in words, in its largest whole unit. */
function ago(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400)} days`;
  if (seconds >= 2 * 3_600) return `${Math.floor(seconds / 3_600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.round(seconds)} s`;
}
