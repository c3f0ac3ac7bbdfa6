import { checks } from "../lib/checks.ts";

// What each role of roles.sql may, as values. `npm run generate` writes the grants from them, and the doctor compares.

/** A right to a relation. Without columns, it is a right to all of it. */
export interface Right {
  role: string;
  privilege: "select" | "insert" | "update" | "delete";
  table: string;
  /** Nothing works without these columns. */
  columns: string[];
  /** These are granted where they exist. */
  optional: string[];
}

/** The tables of the checks. */
export const tables: readonly string[] = [...new Set(checks.map(({ table }) => table))];

/** The columns of a table that its counts read. */
export function columnsOf(table: string): string[] {
  const ofTable = checks.filter((check) => check.table === table);
  return [
    ...new Set(["status", ...ofTable.flatMap(({ columns = [] }) => columns), ...ofTable.map(({ time }) => time)]),
  ];
}

const select = (role: string, table: string, columns: string[] = [], optional: string[] = []): Right => ({
  ...{ role, privilege: "select", table },
  ...{ columns, optional: optional.filter((column) => !columns.includes(column)) },
});
const outbox = ["created_at", "parked_at", "sent_at"];
const outboxOnCall = ["id", "attempts", "next_attempt_at", "last_error", "claimed_until"];

/** To the ledger. The outbox may be in another database. Accepted rows need `id`, and the runbook reads the rest. */
export const ledgerRights: readonly Right[] = [
  ...tables.flatMap((table) => [
    select("veza_ledger_sampler", table, columnsOf(table), ["id"]),
    select("veza_ledger_oncall", table, columnsOf(table), ["id", "created_at", "updated_at"]),
  ]),
  select("veza_ledger_sampler", "ledger_metrics_outbox", [], outbox),
  select("veza_ledger_oncall", "ledger_metrics_outbox", [], [...outbox, ...outboxOnCall]),
];

/** A right to a table of ours: all its columns exist. */
const ours = (role: string, privilege: Right["privilege"], name: string, columns: string[] = []): Right => ({
  ...{ role, privilege, table: `ledger_metrics.${name}`, columns, optional: [] },
});
const readers = ["veza_ledger_sampler", "veza_ledger_oncall"];

/** To ledger_metrics. Deleting deliveries is for those past their 14 days. */
export const ourRights: readonly Right[] = [
  ...readers.flatMap((role) => ["totals", "amounts_at_risk", "accepted"].map((name) => ours(role, "select", name))),
  ...(["select", "insert", "delete"] as const).map((privilege) =>
    ours("veza_ledger_receiver", privilege, "deliveries"),
  ),
  ours("veza_ledger_receiver", "update", "deliveries", ["attempts"]),
  ...(["select", "insert"] as const).map((privilege) => ours("veza_ledger_receiver", privilege, "totals")),
  ours("veza_ledger_receiver", "update", "totals", ["value", "ahead"]),
  ours("veza_ledger_oncall", "select", "deliveries"),
  ours("veza_ledger_oncall", "insert", "accepted", ["check", "id", "until", "why"]),
  ours("veza_ledger_oncall", "delete", "accepted"),
];

/** SQL: `(oid, position)` of the schemas of a search_path. Unlike current_schemas(), it knows schemas without USAGE. */
export const schemasOn = (path: string, user: string): string => `(
  select pg_namespace.oid, position
  from regexp_matches(${path}, '"(?:[^"]|"")*"|[^", ]+', 'g')
    with ordinality as entries (entry, position)
    join pg_namespace on entry[1] = '"' || replace(nspname, '"', '""') || '"' or lower(entry[1]) = nspname
      or entry[1] in ('$user', '"$user"') and nspname = ${user})`;

/** SQL: the oid of the relation of this name, which is SQL: `ledger_metrics.totals`, or as the session finds it. */
export const tableNamed = (name: string): string => `(
  select pg_class.oid from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    left join ${schemasOn("current_setting('search_path')", "session_user")} as path on path.oid = relnamespace
  where (nspname || '.' || relname = ${name} or relname = ${name} and position is not null)
    and relkind in ('r', 'p', 'v', 'm', 'f') order by position limit 1)`;

/**
 * SQL: `named (role, oid, …)`, the relations of these rights, which are JSON, and `lacking (role, oid, privilege,
 * attnum, attname)`, the rights that a role lacks, for a `with recursive`. Leaves out relations and columns that do not
 * exist. Below a view, its owner needs rights, or with security_invoker, wherever that view is, the role itself.
 */
export const lackingOf = (rights: string): string => `
  named as (
    select wanted.*, found.oid
    from jsonb_to_recordset(${rights})
        as wanted (role name, privilege text, "table" text, columns name[], optional name[]),
      lateral (select ${tableNamed('"table"')} as oid) as found
    where found.oid is not null
  ),
  asked (role, caller, oid, privilege, attname) as (
    select role, role, oid, privilege, attname from named left join unnest(columns || optional) as attname on true
    union
    select case when asks_as_caller then caller else pg_get_userbyid(relowner) end, caller, attrelid, 'select',
      pg_attribute.attname
    from asked join pg_class as view using (oid) join pg_rewrite on ev_class = view.oid and ev_type = '1'
      join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
        and refclassid = 'pg_class'::regclass
      join pg_attribute on attrelid = refobjid and attnum = refobjsubid and attnum > 0,
      lateral (select exists (select from pg_options_to_table(reloptions)
        where option_name = 'security_invoker' and option_value::boolean) as asks_as_caller) as whose
    where relkind = 'v'
  ),
  needed as (select distinct role, oid, privilege, attname from asked),
  lacking as (
    select role, needed.oid, privilege, attnum, pg_attribute.attname
    from needed left join pg_attribute on attrelid = needed.oid and pg_attribute.attname = needed.attname
        and not attisdropped,
      lateral (select coalesce(to_regrole(quote_ident(role))::oid, 0) as grantee) as who
    where case when needed.attname is null then not has_table_privilege(grantee, needed.oid, privilege)
      else not has_column_privilege(grantee, needed.oid, attnum, privilege) end
  )`;
