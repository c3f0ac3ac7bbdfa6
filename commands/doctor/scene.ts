// What the looks are told before they look. A look asks for the smallest of these that it needs.
import type { Row } from "postgres";
import type { Database } from "../../lib/postgres/database.ts";
import type { Settings } from "../../lib/settings/settings.ts";

/** Which functions the doctor looks at. A look for one function is skipped when only the other is looked at. */
export interface Functions {
  sampler: boolean;
  receiver: boolean;
}

/**
 * Asks in a read-only transaction that waits for a lock as a count does. A question has so many `seconds` or, by
 * default, the time of a count.
 */
export type AskWithin = (question: string, seconds?: number) => Promise<Row[]>;

/** For looks at the gateway: the functions' settings. */
export interface GatewayScene {
  functions: Functions;
  settings: Settings;
}

/** For looks at the ledger: a session of any login, which needs nothing of this service in the database. */
export interface LedgerScene {
  functions: Functions;
  /** Statuses for which nobody waits. */
  settled: string[];
  database: Database;
  /** Who has logged in. */
  login: string;
  ask: AskWithin;
}

/** For looks at an installation: a session of one of its logins, and the functions' settings. */
export interface InstallationScene extends LedgerScene, GatewayScene {}
