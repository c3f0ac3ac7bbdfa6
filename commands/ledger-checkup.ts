import type { Row } from "postgres";
import { type Check, checks, type Outcome, questionOf, runChecks, stateOf } from "../lib/checks.ts";
import { codeOf, type DatabaseTarget } from "../lib/database.ts";
import { below } from "../lib/evidence.ts";
import { errorFields } from "../lib/log.ts";
import type { Ask } from "../lib/question.ts";
import { clockDifferenceSeconds, maxClockDifferenceSeconds } from "../lib/sample.ts";
import { ownerName, tableNamed } from "./rights.ts";

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

/** By the name of Postgres' own function: its messages come in the server's language. */
const isAboutPolicies = (error: unknown) => (error as { routine?: string }).routine === "check_enable_rls";

const view = "let the role read a view instead: docs/what-counts.md";
const migrate = "npm run migrate";
const lock = "see who holds the lock: docs/runbook/reasons.md";

/** Logins that read the ledger by the settings of veza_ledger_sampler. */
const readers = /^veza_ledger(_sampler)?(_clone)?$/;

/**
 * Tells how to set one of these settings, for all roles of roles.sql at once. In this database alone: a role's settings
 * hold in every database of the server. A login of somebody's own has its own settings. `login` and `database` are
 * quoted for SQL.
 */
function setTo({ login, database }: Row, setting: string): string {
  const reader = login.replace(readers, "veza_ledger_sampler");
  const isHandedOn = reader !== login || login === "veza_ledger_sampler";
  return `alter role ${reader} in database ${database} set ${setting}${isHandedOn ? `; then ${migrate}` : ""}`;
}
/** SQL: what setTo() needs. */
const here = "quote_ident(session_user) as login, quote_ident(current_database()) as database";

/** What the doctor reads the ledger with: it writes nothing, waits for little, and numbers arrive to the last digit. */
export const carefully = { transaction_read_only: "on", extra_float_digits: "1" };
export const briefly = { ...carefully, statement_timeout: "1500ms", lock_timeout: "500ms" };

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
export async function lookAtServer(ask: Ask): Promise<[true, string]> {
  const askedAtSeconds = Date.now() / 1000;
  const [row] = await ask("select pg_is_in_recovery() as is_replica, extract(epoch from clock_timestamp()) as now");
  if (row?.is_replica) throw new Problem("a replica: name the primary", "name the primary in DATABASE_URL");
  const difference = clockDifferenceSeconds(Number(row?.now), askedAtSeconds);
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
async function lookAtTable(ask: Ask, table: string): Promise<[true, string]> {
  const [row] = await ask(`
    with recursive found as (select ${tableNamed(table)} as oid),
    ${below("select oid from found")},
    named as (
      select pg_class.oid, quote_ident(relnamespace::regnamespace::name) as schema from pg_class
      where relname = '${table}' and relkind in ('r', 'p', 'v', 'm', 'f')
        and relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
    )
    select ${here}, current_setting('search_path') as search_path, found.oid is not null as exists,
      quote_ident(nspname) as schema, relkind as kind, ${ownerName("nspowner")} as owner,
      has_schema_privilege(pg_namespace.oid, 'usage') as is_usable,
      (select relowner::regrole::text where relkind = 'v' and not exists (select from pg_options_to_table(reloptions)
        where option_name = 'security_invoker' and option_value::boolean)) as asker,
      (select row_security_active(found.oid) where has_schema_privilege(pg_namespace.oid, 'usage')) as hides_rows,
      (select string_agg(distinct relkind, '') from pg_class join below using (oid)) as kinds,
      exists (select from pg_subscription_rel join below on srrelid = below.oid) as is_target,
      (select string_agg(distinct schema, ', ') from named where oid not in (select oid from below)) as others,
      (select string_agg(distinct schema, ', ') from named) as anywhere
    from found left join pg_class using (oid) left join pg_namespace on pg_namespace.oid = relnamespace`);
  const setPath = (schema: string) => setTo(row ?? [], `search_path = ${schema}, public`);
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
  const [plan] = await ask(`explain (format json) select from ${table}`).catch((error) => {
    // Behind a view that asks as its caller, or whose owner the policies are forced on.
    throw isAboutPolicies(error) ? isHidden : unreadable(error);
  });
  const [some] = await ask(`select exists (select from ${table}) as exist`).catch((error) => {
    throw unreadable(error);
  });
  // The planner takes an empty table for one of ten pages.
  const size = some?.exist ? `rows: about ${Number(rowsIn(plan)).toLocaleString("en")}` : "and empty";
  const what = `${kinds[row.kind]} in ${row.schema}, ${size}`;
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
      `if that is the ledger: ${setPath(row.others)}. If both are, a view of both: docs/what-counts.md`,
    ],
  ];
  for (const [is, doubt, remedy] of doubts) if (is) throw new Problem(`${what}; ${doubt}`, remedy, true);
  if (some?.exist) return [true, what];
  throw new Problem(what, "if the ledger is elsewhere: name its database, or set the role's search_path", true);
}

const rowsIn = (plan: Row | undefined): number => plan?.["QUERY PLAN"][0].Plan["Plan Rows"];

/** Takes a look and prints or keeps what it found. Resolves to the result, null after a doubt, else undefined. */
export type Take = <T>(name: string, look: () => Promise<[T, string]>) => Promise<T | null | undefined>;

/** What is known before the tables are looked at. */
export interface Known {
  settled: string[];
  /** Whether Postgres' clock is right enough to tell the future by. */
  isClockRight: boolean;
}

/** Looks at a table of the checks, at its statuses and times. Resolves to whether it can be read. */
export async function lookThroughTable(ask: Ask, table: string, known: Known, take: Take): Promise<boolean> {
  if ((await take(`table ${table}`, () => lookAtTable(ask, table))) === undefined) return false;
  await take(`status of ${table}`, () => lookAtStatuses(ask, table, known.settled));
  for (const time of new Set(checksOf(table).map(({ time }) => time))) {
    await take(`time of ${table}`, () => lookAtTime(ask, table, time, known));
  }
  return true;
}

/** The tables of the checks, and the checks of a table. */
export const tables = [...new Set(checks.map(({ table }) => table))];
export const checksOf = (table: string): Check[] => checks.filter((check) => check.table === table);

/** Words for rows that nobody waits for. */
const settledWords = new Set(
  (
    "paid completed complete succeeded success settled captured processed fulfilled shipped delivered closed " +
    "archived failed declined rejected cancelled canceled voided expired abandoned refunded partially_refunded " +
    "reversed disputed"
  ).split(" "),
);

/**
 * Looks at every status that rows of a table have: exactly where the table can be read in time, else as Postgres'
 * statistics know them. Throws a doubt about the statuses that no check watches and that are not known to be settled:
 * since a release, stuck rows may have them.
 */
export async function lookAtStatuses(ask: Ask, table: string, settled: string[]): Promise<[true, string]> {
  const rows = await statusesOf(ask, table);
  const watched = checksOf(table).map(({ status }) => status);
  const isKnown = (status: string | null) =>
    status !== null && (watched.includes(status) || settledWords.has(status) || settled.includes(status));
  const unknown = rows.filter(({ status }) => !isKnown(status) && !settled.includes(String(status)));
  if (unknown.length === 0) return [true, namesOf(rows) || "no row, so no status"];
  throw new Problem(
    `neither watched nor known to be settled: ${namesOf(unknown, "'")}`,
    `if nobody waits for such rows: --settled '${unknown.map(({ status }) => String(status)).join(",")}'; ` +
      `if a release has renamed a status, ${view}`,
    true,
  );
}

/** The statuses of rows with their numbers, for people: `paid 690, pending 10`. */
export function namesOf(rows: Row[], quote = ""): string {
  const nameOf = (status: string | null) => (status === null ? "null" : quote + status + quote);
  return rows.map(({ status, rows }) => `${nameOf(status)} ${Math.round(rows).toLocaleString("en")}`).join(", ");
}

/** Every status of a table's rows, with their number. Throws a doubt where neither rows nor statistics can be read. */
async function statusesOf(ask: Ask, table: string): Promise<Row[]> {
  try {
    return await ask(`
      select status::text as status, count(*)::float8 as rows from ${table} group by 1 order by 2 desc limit 50`);
  } catch (error) {
    if (/^(42|22)/.test(codeOf(error))) throw new Problem("they cannot be read", "see its checks, below", true);
    return await estimatedStatuses(ask, table);
  }
}

/**
 * The statuses as of the last ANALYZE, with estimated rows. Throws a doubt when much has changed since. Autovacuum
 * analyzes partitions, and never the partitioned table.
 */
async function estimatedStatuses(ask: Ask, table: string): Promise<Row[]> {
  const [row] = await ask(`
    with recursive parts as (
      select to_regclass('${table}')::oid as part
      union
      select inhrelid from parts join pg_inherits on inhparent = part
    )
    select relkind = 'v' as is_view,
      -- Before PostgreSQL 14, a partitioned table has no estimate and no time of an ANALYZE of its own.
      (select coalesce(sum(greatest(leaf.reltuples, 0)), 0)::float8
        from parts join pg_class as leaf on leaf.oid = part where leaf.relkind <> 'p') as rows,
      relowner::regrole::text as owner,
      (select format('%I.%I', nspname, relname) from pg_namespace where oid = relnamespace) as name,
      (select coalesce(sum(pg_stat_get_mod_since_analyze(part)), 0)::float8 from parts) as changes,
      exists (select from parts where pg_stat_get_last_autoanalyze_time(part)
        > coalesce(pg_stat_get_last_analyze_time(oid), pg_stat_get_last_analyze_time(part))) as is_behind,
      exists (select from pg_stats where tablename = relname and schemaname = relnamespace::regnamespace::text
        and attname = 'status' and most_common_vals is not null) as has_list
    from pg_class where oid = to_regclass('${table}')`);
  const read = row?.is_view ? `select status, count(*) from ${row.name} group by 1` : `analyze ${row?.name}`;
  const analyze = `as ${row?.owner}: ${read}`;
  if (!row?.has_list) throw new Problem("too many rows to read, and no statistics", analyze, true);
  if (row.changes > row.rows / 10) {
    throw new Problem(`the statistics are ${row.changes.toLocaleString("en")} changes old`, analyze, true);
  }
  if (row.is_behind) throw new Problem("the statistics are older than a partition's", analyze, true);
  return await ask(`
    select status, frequency * ${row.rows}::float8 as rows
    from pg_stats join pg_class on relname = tablename and relnamespace::regnamespace::text = schemaname,
      unnest(most_common_vals::text::text[], most_common_freqs) as known (status, frequency)
    where pg_class.oid = to_regclass('${table}') and attname = 'status'`);
}

/**
 * Looks at the type of a table's time. A time without a zone is right only in the zone of the process that writes it: a
 * newest row that was written just now tells. Throws a Problem for a type that cannot be counted by.
 */
async function lookAtTime(ask: Ask, table: string, column: string, { isClockRight }: Known): Promise<[true, string]> {
  const [row] = await ask(`
    select coalesce(nullif(typbasetype, 0), atttypid)::regtype::text as type, ${here},
      current_setting('timezone') as zone,
      (select source in ('user', 'database user', 'session') from pg_settings where name = 'TimeZone') as is_chosen
    from pg_attribute join pg_type on pg_type.oid = atttypid
    where attrelid = to_regclass('${table}') and attname = '${column}' and not attisdropped`);
  if (!row) throw new Problem(`there is no ${column}`, `migrate the ledger, or ${view}`);
  if (row.type === "timestamp with time zone") return [true, `${column} is a ${row.type}`];
  if (row.type !== "timestamp without time zone") {
    throw new Problem(`${column} is a ${row.type}, which cannot be compared with a time of day`, view);
  }

  const setZone = (zone: string) => setTo(row, `timezone = '${zone}'`);
  const orOther = `or name the zone of the process that writes ${column}`;
  if (!row.is_chosen) {
    const problem = `${column} has no zone, and is read in the server's default, ${row.zone}`;
    throw new Problem(problem, `${setZone("UTC")}; ${orOther}`);
  }
  const newest = `
    select extract(epoch from now() - max(${column})::timestamptz)::float8 as age
    from ${table} where isfinite(${column})`;
  const [written] = await ask(newest).catch(() => []); // May take too long, or not be granted.
  const age = written?.age;
  const reading = `${column} has no zone, and is read as ${row.zone}`;
  const isOld = `${reading}, by which the newest row is ${ago(age)} old`;
  if (typeof age !== "number")
    throw new Problem(reading, `if that is not the writer's: ${setZone("UTC")}; ${orOther}`, true);
  if (!isClockRight) return [true, reading];
  // No two zones are further apart.
  if (age < -26 * 3_600) throw new Problem(`${reading}, and the newest row is ${ago(-age)} ahead`, correct);
  if (age < -60) {
    const zone = (await zoneAhead(ask, -age)) ?? "UTC";
    throw new Problem(`${reading}, by which the newest row is ${ago(-age)} ahead`, `${setZone(zone)}; ${orOther}`);
  }
  if (age > 900) throw new Problem(isOld, `if it is younger: ${setZone("UTC")}; ${orOther}`, true);
  return [true, isOld];
}

/**
 * A zone in which a row that seems `seconds` ahead was written within the last hour. Prefers this machine's zone, then
 * the server's, then zones of whole hours.
 */
async function zoneAhead(ask: Ask, seconds: number): Promise<string | undefined> {
  const [row] = await ask(`
    select name from pg_timezone_names, (
      select utc_offset + interval '${seconds} s' as least from pg_timezone_names
      where name = current_setting('timezone')
    ) as ahead
    where utc_offset >= least and utc_offset < least + interval '1 hour'
    order by name = '${Intl.DateTimeFormat().resolvedOptions().timeZone}' desc,
      name = current_setting('log_timezone') desc, extract(minute from utc_offset) <> 0, name !~ '^Europe/', name
    limit 1`).catch(() => []);
  return row?.name;
}

const correct = `correct these rows and what writes them, or ${view}`;
/** A table of fewer rows is read in milliseconds, index or not. */
const smallTableRows = 100_000;

/**
 * Looks whether the role can ask a check, whether rows in its state have a time, and whether rows have its status.
 * Throws a Problem for the first that is not so.
 */
export async function lookAtCheck(ask: Ask, check: Check, known: Known): Promise<[true, string]> {
  const remedies: Record<string, string> = {
    "42P01": "the table is missing, or its schema may not be used: see its table, above",
    "42703": `the column is missing: migrate the ledger, or ${view}`,
    "42501": `the role may not read it: ${migrate}`,
    "42883": `the column's type does not fit: ${view}`,
    "22P02": `the column has no such value: ${view}`,
    "55P03": lock,
  };
  const remedyFor = (error: unknown) =>
    isAboutPolicies(error)
      ? "see its table, above"
      : (remedies[codeOf(error)] ?? "paste its query into psql: npm run doctor -- sampler --sql");
  try {
    await ask(`explain ${questionOf(check, { withOldest: true })}`);
  } catch (error) {
    const problem = new Problem(errorFields(error).reason, remedyFor(error));
    await ask(`explain ${questionOf(check, { withOldest: false })}`).catch(() => {
      throw problem;
    });
    throw new Problem(`counts, and does not know the oldest row: ${problem.message}`, problem.remedy, true);
  }
  await lookOutside(ask, check, known);
  if (!(await isStatusKnown(ask, check))) {
    const statuses = namesOf(await statusesOf(ask, check.table).catch(() => []));
    throw new Problem(
      `no row, type or constraint knows the status '${check.status}'${statuses && `, but ${statuses}`}`,
      `none may have it today; if a release has renamed it, ${view}`,
      true,
    );
  }
  return [true, "can be asked"];
}

/**
 * Looks whether an index serves each of these checks. Throws a Problem that names the others; a doubt, while their
 * tables are small.
 */
export async function lookAtIndexes(
  ask: Ask,
  which: readonly Check[],
  target: DatabaseTarget,
): Promise<[true, string]> {
  const unserved: Check[] = [];
  let isSmall = true;
  const remedies = new Set<string>();
  for (const check of which) {
    const planOf = (withOldest: boolean) =>
      // On a small table the planner would read all of it, whatever index there is.
      ask(`set local enable_seqscan = off; explain (format json) ${questionOf(check, { withOldest })}`);
    const plan = JSON.stringify(
      await planOf(true)
        .catch(() => planOf(false))
        .catch(() => ""),
    ); // Its check says why.
    // Through an index that does not know the status come rows of every status, which a filter sorts out.
    if (!/Seq Scan|"Filter":"[^"]*\bstatus\b/.test(plan)) continue;
    unserved.push(check);
    remedies.add(await remedyForIndex(ask, check, target));
    const [size] = await ask(`explain (format json) select from ${check.table}`);
    isSmall &&= rowsIn(size) < smallTableRows;
  }
  if (unserved.length === 0) return [true, "one serves each check"];
  const ids = unserved.map(({ id }) => id).join(", ");
  throw new Problem(`none serves ${ids}: the whole table is read every minute`, [...remedies].join("; "), isSmall);
}

/** What makes an index for a check. indexes.sql skips an index by its name, also an invalid one. */
async function remedyForIndex(ask: Ask, check: Check, target: DatabaseTarget): Promise<string> {
  const { id, table, time } = check;
  const [row] = await ask(`
    with recursive ${below(`select to_regclass('${table}')::oid`)},
    root as (
      select pg_class.*, format('%I.%I', nspname, relname) as name from below join pg_class using (oid)
        join pg_namespace on pg_namespace.oid = relnamespace where relkind in ('r', 'p', 'm') and not relispartition
    )
    select name, relname = '${table}' as is_named, ${ownerName("relowner")} as owner,
      exists (select from pg_attribute
        where attrelid = root.oid and attname = '${time}' and not attisdropped) as has_time,
      (select count(*) from root) as roots, (select relkind from pg_class where oid = to_regclass('${table}')) as kind,
      (select format('drop index %I.%I', nspname, relname) from pg_index join pg_class on pg_class.oid = indexrelid
        join pg_namespace on pg_namespace.oid = relnamespace
        where indrelid = root.oid and relname = 'veza_ledger_${id}' and not indisvalid) as drop,
      exists (select from pg_index join pg_class on oid = indexrelid
        where indrelid = root.oid and relname = 'veza_ledger_${id}' and indisvalid) as has_index
    from root limit 1`);
  if (row && Number(row.roots) === 1 && !(row.kind === "v" && row.has_index)) {
    const { host, port, database } = target;
    const psql = `psql "postgres://${encodeURIComponent(row.owner)}@${host}:${port}/${encodeURIComponent(database)}"`;
    if (row.is_named && row.has_time) {
      return `${psql}${row.drop ? ` -c '${row.drop}'` : ""} -f config/postgres/indexes.sql`;
    }
    const column = row.has_time ? time : "status";
    const [fits] = await ask(`explain select from ${row.name} where ${stateOf(check)}`).catch(() => []);
    if (fits) return `as ${row.owner}: create index concurrently on ${row.name} (${column}) where ${stateOf(check)}`;
  }
  return "an index on what the view computes, on the table behind it: docs/what-counts.md";
}

/** Throws a Problem when rows in the state that a check watches have no time, or a time over 5 min ahead. */
async function lookOutside(ask: Ask, check: Check, { isClockRight }: Known): Promise<void> {
  const { table, time, staleAfter } = check;
  const question = `
    select count(*) filter (where ${time} is null)::float8 as no_time,
      count(*) filter (where ${time} > now() + interval '5 minutes')::float8 as ahead,
      count(*) filter (where ${time} = 'infinity')::float8 as endless,
      pg_typeof(min(${time}))::text as type
    from ${table} where ${stateOf(check)} and (${time} is null or ${time} > now() + interval '5 minutes')`;
  const [row] = await ask(question).catch(() => []); // Without an index it may take too long.
  const effect = staleAfter ? "do not count" : "count, without an oldest row";
  const isDoubt = !staleAfter;
  if (row?.no_time > 0) throw new Problem(`rows without ${time} ${effect}: ${row?.no_time}`, correct, isDoubt);
  // lookAtTime() tells of a wrong zone, and lookAtServer() of a wrong clock, by finite times.
  const ahead = row?.type === "timestamp without time zone" || !isClockRight ? row?.endless : row?.ahead;
  if (ahead > 0) throw new Problem(`rows whose ${time} is in the future ${effect}: ${ahead}`, correct, isDoubt);
}

/** Says what counts now, and which alerts that makes: on day one, they fire without anything new being wrong. */
export async function lookAtCounts(ask: Ask): Promise<[true, string]> {
  const outcomes = await runChecks(ask);
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

/** Whether a row has the status, or type, constraint or statistics of the column name it. True on an empty table. */
async function isStatusKnown(ask: Ask, { table, status }: Check): Promise<boolean> {
  // May take too long on a large table without its index; then the rest has to tell.
  const [row] = await ask(
    `select exists (select from ${table} where status = '${status}') or not exists (select from ${table}) as known`,
  ).catch(() => []);
  if (row?.known) return true;
  const [declared] = await ask(`
    select exists (select from pg_enum where enumtypid = atttypid and enumlabel = '${status}')
      or exists (select from pg_constraint where conrelid = attrelid and contype = 'c' and attnum = any (conkey)
        and strpos(pg_get_constraintdef(pg_constraint.oid), quote_literal('${status}')) > 0)
      or exists (select from pg_stats
        where tablename = '${table}' and to_regclass(format('%I.%I', schemaname, tablename)) = attrelid
        and pg_stats.attname = 'status' and '${status}' = any (most_common_vals::text::text[])) as known
    from pg_attribute where attrelid = to_regclass('${table}') and attname = 'status' and not attisdropped`);
  return declared?.known ?? false;
}

/** A duration in words, in its largest whole unit. */
export function ago(seconds: number): string {
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400).toLocaleString("en")} days`;
  if (seconds >= 2 * 3_600) return `${Math.floor(seconds / 3_600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.round(seconds)} s`;
}
