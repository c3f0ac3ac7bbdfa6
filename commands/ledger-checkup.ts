import type { Row, Sql } from "postgres";
import { type Check, checks, type Outcome, questionOf, runChecks, stateOf } from "../lib/checks.ts";
import { codeOf, type Database } from "../lib/database.ts";
import { below } from "../lib/evidence.ts";
import { errorFields } from "../lib/log.ts";
import { clockDifferenceSeconds, maxClockDifferenceSeconds } from "../lib/sample.ts";
import { tableNamed } from "./rights.ts";

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
    if (error instanceof Problem) throw error;
    throw new Problem(errorFields(error).reason, remedy);
  }
}

const isAboutPolicies = ({ message }: { message: string }) => /row-level security/.test(message);

const view = "let the role read a view instead: docs/what-counts.md";
const migrate = "npm run migrate";
const lock = "see who holds the lock: docs/runbook/reasons.md";

/** Logins that read the ledger by the settings of veza_ledger_sampler, as a pattern of JavaScript and of Postgres. */
const readers = "^veza_ledger(_sampler)?(_clone)?$";
/** The role whose setting decides how this login reads the ledger. A login of somebody's own has its own settings. */
const readerOf = (login: string) => login.replace(new RegExp(readers), "veza_ledger_sampler");

/** Tells how to set one of these settings, for all roles of roles.sql at once. `place` is of placeOf(). */
const setTo = (login: string, place: string, setting: string) =>
  `alter role ${readerOf(login)}${place} set ${setting}` +
  (readerOf(login) === login && login !== "veza_ledger_sampler" ? "" : `; then ${migrate}`);

/** SQL: ` in database …` where the reader has a setting for this database alone, which wins; else an empty text. */
const placeOf = (setting: string) => `(
  select coalesce(max(format(' in database %I', datname)), '')
  from pg_db_role_setting join pg_roles on pg_roles.oid = setrole
    join pg_database on pg_database.oid = setdatabase, unnest(setconfig) as entry
  where datname = current_database() and entry ilike '${setting}=%'
    and rolname = regexp_replace(session_user, '${readers}', 'veza_ledger_sampler'))`;

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

/**
 * Throws a Problem when this is a replica, which the sampler never counts on. Throws a doubt when the clocks are too
 * far apart to count minutes by: it may be this machine's that is wrong.
 */
export async function lookAtServer({ sql }: Database): Promise<[true, string]> {
  const askedAtSeconds = Date.now() / 1000;
  const [row] = await orRemedy(
    sql`select pg_is_in_recovery() as is_replica, extract(epoch from clock_timestamp())::float8 as now`,
    "run it again",
  );
  if (row?.is_replica) throw new Problem("a replica: name the primary", "name the primary in DATABASE_URL");
  const difference = clockDifferenceSeconds(row?.now, askedAtSeconds);
  if (difference > maxClockDifferenceSeconds) {
    throw new Problem(
      `the clocks of Postgres and this machine are ${Math.round(difference)} s apart`,
      "correct the wrong one: docs/runbook/reasons.md",
      true,
    );
  }
  return [true, "the primary"];
}

const kinds: Record<string, string> = {
  r: "a table",
  p: "a partitioned table",
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
};

/**
 * Looks for the table that a check finds under this name: where and what it is, how large, whether rows are hidden.
 * Throws a Problem for what makes counts wrong, unknown or late, and a doubt where another schema has a table, too.
 */
async function lookAtTable({ sql }: Database, table: string): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql.unsafe(`
      with recursive found as (select ${tableNamed(table)} as oid),
      ${below("select oid from found")},
      named as (
        select pg_class.oid, relnamespace::regnamespace::text as schema from pg_class
        where relname = '${table}' and relkind in ('r', 'p', 'v', 'm', 'f')
          and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
      )
      select session_user as login, current_setting('search_path') as search_path, ${placeOf("search_path")} as place,
        found.oid is not null as exists,
        relnamespace::regnamespace::text as schema, relkind as kind, nspowner::regrole::text as owner,
        has_schema_privilege(pg_namespace.oid, 'usage') as is_usable,
        (select relowner::regrole::text where relkind = 'v' and not exists (select from pg_options_to_table(reloptions)
          where option_name = 'security_invoker' and option_value::boolean)) as asker,
        (select row_security_active(found.oid) where has_schema_privilege(pg_namespace.oid, 'usage')) as hides_rows,
        (select string_agg(distinct relkind, '') from pg_class join below using (oid)) as kinds,
        exists (select from pg_subscription_rel join below on srrelid = below.oid) as is_target,
        (select string_agg(distinct schema, ', ') from named where oid not in (select oid from below)) as others,
        (select string_agg(distinct schema, ', ') from named) as anywhere
      from found left join pg_class using (oid) left join pg_namespace on pg_namespace.oid = relnamespace`),
    "run it again",
  );
  const setPath = (schema: string) => setTo(row?.login, row?.place, `search_path = ${schema}, public`);
  if (!row?.exists) {
    if (!row?.anywhere) throw new Problem("there is no such table", "migrate the ledger, or name its database");
    throw new Problem(
      `it is in ${row.anywhere}, where the role does not look: its search_path is ${row.search_path}`,
      setPath(row.anywhere),
    );
  }
  if (!row.is_usable) {
    throw new Problem(
      `it is in ${row.schema}, which the role may not use`,
      `as ${row.owner}: grant usage on schema ${row.schema} to ${row.login.replace(/_clone$/, "")}`,
    );
  }
  const isHidden = new Problem(
    `row-level security is on in ${row.schema}, so that its counts are unknown`,
    row.asker
      ? `alter role ${row.asker} bypassrls: the view asks with its owner's rights`
      : `alter role ${row.login} bypassrls, or ${view}`,
  );
  if (row.hides_rows) throw isHidden;
  const unreadable = (error: Error) =>
    new Problem(errorFields(error).reason, codeOf(error) === "55P03" ? lock : migrate);
  const [plan] = await briefly(sql, `explain (format json) select from ${table}`).catch((error) => {
    // Behind a view that asks as its caller, or whose owner the policies are forced on.
    throw isAboutPolicies(error) ? isHidden : unreadable(error);
  });
  const size = Number(plan?.["QUERY PLAN"][0].Plan["Plan Rows"]).toLocaleString("en");
  const what = `${kinds[row.kind]} in ${row.schema}, rows: about ${size}`;
  const doubts: [boolean, string, string][] = [
    [row.is_target, "the target of a subscription: rows count when they arrive", "name the publisher's database"],
    [/f/.test(row.kinds), "rows are on another server, by its clock", "name the database that has the table itself"],
    [
      /m/.test(row.kinds),
      "a materialized view counts as of its last refresh",
      `let the role read the table, or ${view}`,
    ],
    [
      row.others !== null,
      `there is another one in ${row.others}`,
      `if that is the ledger: ${setPath(row.others)}. Else rename or drop it`,
    ],
  ];
  for (const [is, doubt, remedy] of doubts) if (is) throw new Problem(`${what}; ${doubt}`, remedy, true);
  const [some] = await briefly(sql, `select exists (select from ${table}) as exist`).catch((error) => {
    throw unreadable(error);
  });
  if (!some?.exist) {
    throw new Problem(
      `${kinds[row.kind]} in ${row.schema}, and empty`,
      "if the ledger is elsewhere: name its database, or set the role's search_path",
      true,
    );
  }
  return [true, what];
}

/** Takes a look and prints or keeps what it found. Resolves to the result, null after a doubt, else undefined. */
export type Ask = <T>(name: string, look: () => Promise<[T, string]>) => Promise<T | null | undefined>;

/** Looks at each table of the checks, at its statuses and times. Resolves to the checks whose tables can be read. */
export async function lookAtTables(database: Database, settled: string[], ask: Ask): Promise<Check[]> {
  const readable: Check[] = [];
  for (const [table, ofTable] of Map.groupBy(checks, ({ table }) => table)) {
    if ((await ask(`table ${table}`, () => lookAtTable(database, table))) === undefined) continue;
    await ask(`status of ${table}`, () => lookAtStatuses(database, table, settled));
    for (const time of new Set(ofTable.map(({ time }) => time))) {
      await ask(`time of ${table}`, () => lookAtTime(database, table, time));
    }
    readable.push(...ofTable);
  }
  return readable;
}

/** Words for rows that nobody waits for. */
const settledWords = new Set(
  (
    "paid completed complete succeeded success settled captured processed fulfilled shipped delivered closed " +
    "archived failed declined rejected cancelled canceled voided abandoned refunded partially_refunded " +
    "reversed disputed"
  ).split(" "),
);

/**
 * Looks at every status that rows of a table have: exactly where the table can be read in time, else as Postgres'
 * statistics know them. Throws a doubt about the statuses that no check watches and that are not known to be settled:
 * since a release, stuck rows may have them.
 */
export async function lookAtStatuses({ sql }: Database, table: string, settled: string[]): Promise<[true, string]> {
  const exact = await briefly(
    sql,
    `select status::text as status, count(*)::float8 as rows from ${table} group by 1 order by 2 desc limit 50`,
  ).catch((error) => {
    if (/^(42|22)/.test(codeOf(error))) throw new Problem("they cannot be read", "see its checks, below", true);
  });
  const rows = exact ?? (await estimatedStatuses(sql, table));
  const watched = checks.filter((check) => check.table === table).map(({ status }) => status);
  const isKnown = (status: string | null) =>
    status !== null && (watched.includes(status) || settledWords.has(status) || settled.includes(status));
  const nameOf = (status: string | null) => (status === null || isKnown(status) ? String(status) : `'${status}'`);
  const text = (some: Row[]) =>
    some.map(({ status, rows }) => `${nameOf(status)} ${Math.round(rows).toLocaleString("en")}`).join(", ");
  const unknown = rows.filter(({ status }) => !isKnown(status) && !settled.includes(String(status)));
  if (unknown.length === 0) return [true, text(rows) || "no row, so no status"];
  throw new Problem(
    `neither watched nor known to be settled: ${text(unknown)}`,
    `if nobody waits for such rows: --settled '${unknown.map(({ status }) => String(status)).join(",")}'; ` +
      `if a release has renamed a status, ${view}`,
    true,
  );
}

/**
 * The statuses as of the last ANALYZE, with estimated rows. Throws a doubt when much has changed since. Autovacuum
 * analyzes partitions, and never the partitioned table.
 */
async function estimatedStatuses(sql: Sql, table: string): Promise<Row[]> {
  const [row] = await orRemedy(
    sql`
      with recursive parts as (
        select to_regclass(${table})::oid as part
        union
        select inhrelid from parts join pg_inherits on inhparent = part
      )
      select relkind = 'v' as is_view,
        -- Before PostgreSQL 14, a partitioned table has no estimate and no time of an ANALYZE of its own.
        (select coalesce(sum(greatest(leaf.reltuples, 0)), 0)::float8
          from parts join pg_class as leaf on leaf.oid = part where leaf.relkind <> 'p') as rows,
        relowner::regrole::text as owner, pg_class.oid::regclass::text as name,
        (select coalesce(sum(pg_stat_get_mod_since_analyze(part)), 0)::float8 from parts) as changes,
        exists (select from parts where pg_stat_get_last_autoanalyze_time(part)
          > coalesce(pg_stat_get_last_analyze_time(oid), pg_stat_get_last_analyze_time(part))) as is_behind,
        exists (select from pg_stats where tablename = relname and schemaname = relnamespace::regnamespace::text
          and attname = 'status' and most_common_vals is not null) as has_list
      from pg_class where oid = to_regclass(${table})`,
    "run it again",
  );
  const read = row?.is_view ? `select status, count(*) from ${row.name} group by 1` : `analyze ${row?.name}`;
  const analyze = `as ${row?.owner}: ${read}`;
  if (!row?.has_list) throw new Problem("too many rows to read, and no statistics", analyze, true);
  if (row.changes > row.rows / 10) {
    throw new Problem(`the statistics are ${row.changes.toLocaleString("en")} changes old`, analyze, true);
  }
  if (row.is_behind) throw new Problem("the statistics are older than a partition's", analyze, true);
  return await orRemedy(
    sql`
      select status, frequency * ${row.rows}::float8 as rows
      from pg_stats join pg_class on relname = tablename and relnamespace::regnamespace::text = schemaname,
        unnest(most_common_vals::text::text[], most_common_freqs) as known (status, frequency)
      where pg_class.oid = to_regclass(${table}) and attname = 'status'`,
    "run it again",
  );
}

/**
 * Looks at the type of a table's time. A time without a zone is right only in the zone of the process that writes it: a
 * newest row that was written just now tells. Throws a Problem for a type that cannot be counted by.
 */
async function lookAtTime({ sql }: Database, table: string, column: string): Promise<[true, string]> {
  const [row] = await orRemedy(
    sql`
      select coalesce(nullif(typbasetype, 0), atttypid)::regtype::text as type, session_user as login,
        current_setting('timezone') as zone, ${sql.unsafe(placeOf("timezone"))} as place,
        (select source in ('user', 'database user', 'session') from pg_settings where name = 'TimeZone') as is_chosen
      from pg_attribute join pg_type on pg_type.oid = atttypid
      where attrelid = to_regclass(${table}) and attname = ${column} and not attisdropped`,
    "run it again",
  );
  if (!row) throw new Problem(`there is no ${column}`, `migrate the ledger, or ${view}`);
  if (row.type === "timestamp with time zone") return [true, `${column} is a ${row.type}`];
  if (row.type !== "timestamp without time zone") {
    throw new Problem(`${column} is a ${row.type}, which cannot be compared with a time of day`, view);
  }

  const inUtc = setTo(row.login, row.place, "timezone = 'UTC'");
  const remedy = `${inUtc}; or name the zone of the process that writes ${column}`;
  if (!row.is_chosen) {
    throw new Problem(`${column} has no zone, and is read in the server's default, ${row.zone}`, remedy);
  }
  const newest = `
    select extract(epoch from now() - max(${column})::timestamptz)::float8 as age
    from ${table} where isfinite(${column})`;
  const [written] = await briefly(sql, newest).catch(() => []); // May take too long, or not be granted.
  const age = written?.age;
  const reading = `${column} has no zone, and is read as ${row.zone}`;
  const isOld = `${reading}, by which the newest row is ${ago(age)} old`;
  if (typeof age !== "number") throw new Problem(reading, `if that is not the writer's: ${remedy}`, true);
  // No two zones are further apart.
  if (age < -26 * 3_600) throw new Problem(`${reading}, and the newest row is ${ago(-age)} ahead`, correct);
  if (age < -60) throw new Problem(`${reading}, by which the newest row is ${ago(-age)} ahead`, remedy);
  if (age > 900) throw new Problem(isOld, `if it is younger: ${remedy}`, true);
  return [true, isOld];
}

const correct = `correct these rows and what writes them, or ${view}`;
/** A table of fewer rows is read in milliseconds, index or not. */
const smallTableRows = 100_000;

/**
 * Looks whether the role can ask a check, whether rows in its state have a time, whether rows have its status, and
 * whether an index serves it. Throws a Problem for the first that is not so.
 */
export async function lookAtCheck(database: Database, check: Check): Promise<[true, string]> {
  const remedies: Record<string, string> = {
    "42P01": "the table is missing, or its schema may not be used: see its table, above",
    "42703": `the column is missing: migrate the ledger, or ${view}`,
    "42501": `the role may not read it: ${migrate}`,
    "42883": `the column's type does not fit: ${view}`,
    "22P02": `the column has no such value: ${view}`,
    "55P03": lock,
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
  if (!withoutOldest) await lookOutside(database, check);
  if (!(await isStatusKnown(database, check))) {
    throw new Problem(
      `no row, type or constraint knows the status '${check.status}'`,
      `none may have it today; if a release has renamed it, ${view}`,
      true,
    );
  }
  // Through an index that does not know the status come rows of every status, which a filter sorts out.
  if (/Seq Scan|"Filter":"[^"]*\bstatus\b/.test(JSON.stringify(plan))) {
    const byStatus = `create index concurrently on ${check.table} (status) where ${stateOf(check)}`;
    const remedy = withoutOldest ? byStatus : await remedyForIndex(database, check);
    const [size] = await briefly(database.sql, `explain (format json) select from ${check.table}`);
    const isSmall = size?.["QUERY PLAN"][0].Plan["Plan Rows"] < smallTableRows;
    throw new Problem("no index serves it: it reads the whole table every minute", remedy, isSmall);
  }
  if (withoutOldest) throw withoutOldest;
  return [true, "columns readable, an index serves it"];
}

/** What mends a check that no index serves. indexes.sql skips an index by its name, also an invalid one. */
async function remedyForIndex({ sql }: Database, { id, table }: Check): Promise<string> {
  const [index] = await orRemedy(
    sql`select pg_class.oid::regclass::text as name, indisvalid as is_valid,
        (select relkind = 'v' from pg_class where oid = to_regclass(${table})) as is_behind_view
      from pg_index join pg_class on oid = indexrelid where relname = ${`veza_ledger_${id}`}`,
    "run it again",
  );
  const create = 'psql "$DATABASE_URL" -f config/postgres/indexes.sql, as the owner';
  if (!index) return create;
  if (!index.is_valid || !index.is_behind_view) return `as the owner: drop index ${index.name}; then ${create}`;
  return "an index on what the view computes, on the table behind it: docs/what-counts.md";
}

/** Throws a Problem when rows in the state that a check watches have no time, or a time over 5 min ahead. */
async function lookOutside({ sql }: Database, check: Check): Promise<void> {
  const { table, time, staleAfter } = check;
  const question = `
    select count(*) filter (where ${time} is null)::float8 as no_time,
      count(*) filter (where ${time} > now() + interval '5 minutes')::float8 as ahead,
      count(*) filter (where ${time} = 'infinity')::float8 as endless,
      pg_typeof(min(${time}))::text as type
    from ${table} where ${stateOf(check)} and (${time} is null or ${time} > now() + interval '5 minutes')`;
  const [row] = await briefly(sql, question).catch(() => []); // Without an index it may take too long.
  const effect = staleAfter ? "do not count" : "count, without an oldest row";
  const isDoubt = !staleAfter;
  if (row?.no_time > 0) throw new Problem(`rows without ${time} ${effect}: ${row?.no_time}`, correct, isDoubt);
  // lookAtTime() tells of a wrong zone, by finite times.
  const ahead = row?.type === "timestamp without time zone" ? row.endless : row?.ahead;
  if (ahead > 0) throw new Problem(`rows whose ${time} is in the future ${effect}: ${ahead}`, correct, isDoubt);
}

/** Says what counts now, and which alerts that makes: on day one, they fire without anything new being wrong. */
export async function lookAtCounts(database: Database, deadline: AbortSignal): Promise<[true, string]> {
  const outcomes = await runChecks(database, deadline);
  const texts = outcomes.flatMap((outcome) => ("error" in outcome || outcome.count === 0 ? [] : [textOf(outcome)]));
  const unknown = outcomes.filter((outcome) => "error" in outcome).length;
  if (unknown > 0) texts.push(`unknown: ${unknown}`);
  return [true, texts.length === 0 ? "0 everywhere: no alert about money fires" : texts.join("; ")];
}

function textOf({ check, count, oldestSeconds = 0 }: Exclude<Outcome, { error: unknown }>): string {
  const age = Date.now() / 1000 - oldestSeconds;
  const oldest = oldestSeconds > 0 ? `, the oldest ${ago(age)} old` : "";
  const alert = `VezaLedger${check.id.replaceAll(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase())}`;
  const tooOld = oldestSeconds > 0 && age > 86_400 ? ", and VezaLedgerRowsTooOld unless that alert pages" : "";
  return `${check.id} ${count}${oldest}: ${alert} fires${tooOld}`;
}

/** The plan of a query, with whatever index would serve it: on a small table the planner would read all of it. */
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

/** Whether a row has the status, or type, constraint or statistics of the column name it. True on an empty table. */
async function isStatusKnown({ sql }: Database, { table, status }: Check): Promise<boolean> {
  // May take too long on a large table without its index; then the rest has to tell.
  const [row] = await briefly(
    sql,
    `select exists (select from ${table} where status = '${status}') or not exists (select from ${table}) as known`,
  ).catch(() => []);
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
export function ago(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400).toLocaleString("en")} days`;
  if (seconds >= 2 * 3_600) return `${Math.floor(seconds / 3_600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.round(seconds)} s`;
}
