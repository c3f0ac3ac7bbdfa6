import type { Row } from "postgres";
import type { Step } from "./finding.ts";
import { sqlName } from "./quote.ts";

/** Whether roles.sql makes a login of this name, or AWS' rotation does. */
export const isOurs = (login: string): boolean => /^veza_ledger(_sampler|_receiver|_oncall)?(_clone)?$/.test(login);

export const view = "let the role read a view instead: docs/what-counts.md";
export const ownedView = "let a role without a login own a view: docs/what-counts.md, Rows that policies hide";
export const correct = `correct these rows and what writes them, or ${view}`;

/** Who may change a role. */
export const roleMaker = "a login that may create roles";

/**
 * Sets one of the settings by which the ledger is read, for all roles of roles.sql at once. In this database alone: a
 * role's settings hold in every database of the server. A login of somebody's own has its own.
 */
export function setTo({ login, database }: Row, setting: string): Step[] {
  const alter = (role: string) => ({
    as: roleMaker,
    sql: `alter role ${sqlName(role)} in database ${sqlName(database)} set ${setting}`,
  });
  return isOurs(login) ? [alter("veza_ledger_sampler"), "npm run migrate"] : [alter(login)];
}
/** SQL: the login and database that setTo() needs. */
export const here = "session_user as login, current_database() as database";
