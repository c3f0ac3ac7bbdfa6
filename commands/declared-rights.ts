// What the database has to have besides the ledger and config/postgres/schema.sql: logins and their rights. `npm run
// generate` writes the grants of config/postgres/roles.sql from it, and the doctor compares the rights to tables. By
// hand, roles.sql also grants connect, usage of schemas and plpgsql, pg_read_all_stats to people on call, and rds_iam.
// Settings are the functions' own: lib/postgres/transaction.ts.
import { checks } from "../lib/counts/checks.ts";

/**
 * The logins, and how many connections each may have. roles.sql sets these numbers, and who is a member of whom, only
 * when it makes a login: an administrator may have chosen others since. A new number has no effect on a login that is
 * there: the changelog then has an `alter role` for administrators.
 */
export const roles = {
  veza_ledger_sampler: 3,
  veza_ledger_receiver: 20,
  veza_ledger_oncall: 10,
  /** For both functions in one process: a member of the first two. */
  veza_ledger: 23,
} as const;
export type Role = keyof typeof roles;
const [sampler, receiver, oncall] = ["veza_ledger_sampler", "veza_ledger_receiver", "veza_ledger_oncall"] as const;

const roleNames = Object.keys(roles) as readonly Role[];

/** The logins with a role's rights: the role itself, and the clone that AWS' rotation makes of it. */
const loginsOf = (role: Role): string[] => [role, `${role}_clone`];

/** The role of this service that a login has. Undefined for a login of somebody else. */
export const roleOf = (login: string): Role | undefined => roleNames.find((role) => loginsOf(role).includes(login));

/** Whether a login is one of this service. */
export const isOurs = (login: string): boolean => roleOf(login) !== undefined;

/** A right to a relation. Without columns, it is a right to all of it. */
export interface Right {
  role: Role;
  privilege: "select" | "insert" | "update" | "delete";
  /** Without a schema, it is in LEDGER_SCHEMA. */
  table: string;
  columns: string[];
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

/** The columns of a table that are granted: accepted rows need `id`, too, and the runbook reads both times. */
export const grantedColumnsOf = (table: string): string[] => [
  ...new Set(["id", ...columnsOf(table), "created_at", "updated_at"]),
];

/** To the ledger. */
export const ledgerRights: readonly Right[] = tables.flatMap((table) => {
  const columns = grantedColumnsOf(table);
  return [sampler, oncall].map((role): Right => ({ role, privilege: "select", table, columns }));
});

/** To the reconciler's outbox, which may be in another database. */
export const outboxRights: readonly Right[] = [
  ...[sampler, oncall].map((role) => toOutbox(role, ["created_at", "parked_at", "sent_at"])),
  toOutbox(oncall, ["id", "attempts", "next_attempt_at", "last_error", "claimed_until"]),
];

function toOutbox(role: Role, columns: string[]): Right {
  return { role, privilege: "select", table: "ledger_outbox.deliveries", columns };
}

const ours = (role: Role, privilege: Right["privilege"], name: string, columns: string[] = []): Right => ({
  role,
  privilege,
  table: `ledger_metrics.${name}`,
  columns,
});

/** To ledger_metrics. Deleting deliveries is for those past their 14 days. */
export const ourRights: readonly Right[] = [
  ours(receiver, "select", "deliveries"),
  ours(oncall, "select", "deliveries"),
  ours(receiver, "insert", "deliveries"),
  ours(receiver, "update", "deliveries", ["attempts"]),
  ours(receiver, "delete", "deliveries"),
  // The first delivery says whose totals these are.
  ours(receiver, "insert", "stage", ["stage"]),
  ours(receiver, "update", "stage", ["single"]),
  ours(receiver, "select", "stage"),
  ours(sampler, "select", "stage"),
  ours(oncall, "select", "stage"),
  ours(sampler, "select", "totals"),
  ours(receiver, "select", "totals"),
  ours(oncall, "select", "totals"),
  ours(receiver, "insert", "totals"),
  ours(receiver, "update", "totals", ["value", "ahead"]),
  // To lock it, as a publisher does.
  ours(sampler, "update", "publisher"),
  ours(receiver, "update", "publisher"),
  ours(sampler, "select", "first_day"),
  ours(oncall, "select", "first_day"),
  ours(sampler, "select", "accepted_now"),
  ours(oncall, "select", "accepted_now"),
  ours(oncall, "select", "accepted"),
  // No update and no delete: what was accepted, and taken back, stays on record.
  ours(oncall, "insert", "accepted", ["check", "id", "until", "why"]),
  ours(sampler, "select", "amounts_at_risk"),
  ours(oncall, "select", "amounts_at_risk"),
];

/** Who may execute the functions of ledger_metrics. PUBLIC, which may execute other functions, may not. */
export const executors = {
  /** amounts(), which the view amounts_at_risk calls. */
  amounts: [sampler, oncall],
  /** For people on call: the list of each check, failed_orphan_refunds(), and accept(). */
  rows: [oncall],
} as const satisfies Record<string, readonly Role[]>;
