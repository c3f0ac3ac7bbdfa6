import { checks } from "../../lib/checks.ts";
import { sampleTimeoutMs } from "../../lib/limits.ts";

// What the database has to have besides the ledger and config/postgres/schema.sql: roles, their settings, their rights.
// `npm run migrate` makes what is lacking, and the doctor says it.

/** The logins, and how many connections each may have. */
export const roles: Readonly<Record<string, number>> = {
  veza_ledger_sampler: 3,
  veza_ledger_receiver: 20,
  veza_ledger_oncall: 10,
  /** For both functions in one process, with --one-login: a member of the first two. */
  veza_ledger: 23,
};

/** Whether `npm run migrate` makes a login of this name, or AWS' rotation does. */
export const isOurs = (login: string): boolean => Object.hasOwn(roles, login.replace(/_clone$/, ""));

const [sampler, receiver, oncall, both] = Object.keys(roles) as [string, string, string, string];
const functions = [sampler, receiver, both];
/** Who reads the ledger: all with the search_path and in the zone of the sampler. */
export const readers = [sampler, oncall, both];

/** Longest time for one statement, of all counts one after the other, in steps of 100 ms; 1.5 s at most. */
const countMs = Math.min(1_500, Math.floor(sampleTimeoutMs / checks.length / 100) * 100);

/** A setting of these logins, in every database of the server. */
export interface Setting {
  roles: string[];
  name: string;
  value: string;
  /** The major version of PostgreSQL that brought it. */
  since?: number;
  why?: string;
}

/** The time-outs belong to the roles because poolers refuse them as start-up parameters. */
export const settings: readonly Setting[] = [
  { roles: [sampler, oncall], name: "default_transaction_read_only", value: "on" },
  { roles: [receiver, both], name: "default_transaction_read_only", value: "off" },
  {
    ...{ roles: functions, name: "synchronous_commit", value: "on" },
    why: "A delivery is answered when it is on the disk, whatever the database's default is.",
  },
  {
    ...{ roles: functions, name: "default_transaction_isolation", value: "read committed" },
    why: "Under a stricter default of the database's, deliveries at the same time would fail each other.",
  },
  { roles: [sampler, both], name: "statement_timeout", value: `${countMs}ms` },
  { roles: [receiver], name: "statement_timeout", value: "3s" },
  { roles: [oncall], name: "statement_timeout", value: "10s" },
  { roles: [sampler, both], name: "lock_timeout", value: "500ms" },
  { roles: [receiver, oncall], name: "lock_timeout", value: "2s" },
  { roles: functions, name: "idle_in_transaction_session_timeout", value: "10s" },
  { roles: [oncall], name: "idle_in_transaction_session_timeout", value: "1min" },
  {
    ...{ roles: [receiver, both], name: "idle_session_timeout", value: "1min", since: 14 },
    why: "A receiver that AWS takes away leaves its connection behind.",
  },
  {
    ...{ roles: readers, name: "row_security", value: "off" },
    why: "A policy that hides rows makes a count fail. Otherwise it would be too small, and nobody would know.",
  },
];

/** For times without a zone, unless somebody has chosen a zone for the sampler: Go writes them in UTC. */
export const defaultZone = "UTC";

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
    select(sampler, table, columnsOf(table), ["id"]),
    select(oncall, table, columnsOf(table), ["id", "created_at", "updated_at"]),
  ]),
  select(sampler, "ledger_metrics_outbox", [], outbox),
  select(oncall, "ledger_metrics_outbox", [], [...outbox, ...outboxOnCall]),
];

/** A right to a table of ours: all its columns exist. */
const ours = (role: string, privilege: Right["privilege"], name: string, columns: string[] = []): Right => ({
  ...{ role, privilege, table: `ledger_metrics.${name}`, columns, optional: [] },
});

/** To ledger_metrics. Deleting deliveries is for those past their 14 days. */
export const ourRights: readonly Right[] = [
  ...[sampler, oncall].flatMap((role) =>
    ["totals", "amounts_at_risk", "accepted"].map((name) => ours(role, "select", name)),
  ),
  ...(["select", "insert", "delete"] as const).map((privilege) => ours(receiver, privilege, "deliveries")),
  ours(receiver, "update", "deliveries", ["attempts"]),
  ...(["select", "insert"] as const).map((privilege) => ours(receiver, privilege, "totals")),
  ours(receiver, "update", "totals", ["value", "ahead"]),
  // To lock it, as a publisher does.
  ...[sampler, receiver].map((role) => ours(role, "update", "publisher")),
  ours(oncall, "select", "deliveries"),
  ours(oncall, "insert", "accepted", ["check", "id", "until", "why"]),
  ours(oncall, "delete", "accepted"),
];
