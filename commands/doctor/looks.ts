// The looks of the doctor, in the order of its lines. A look named "accepted rows" is in accepted-rows.ts, and one with
// the name "table orders" in table.ts: a file has the name that is printed, and so has its function. Three lines are no
// looks: "settings" (settings.ts) and "Postgres" (postgres.ts) come before them, and "the first day" is of
// count-by-url.ts.
import { type Check, checks } from "../../lib/counts/checks.ts";
import { tables } from "../declared-rights.ts";
import { lookAtAcceptedRows } from "./accepted-rows.ts";
import { lookAtCheck } from "./check.ts";
import { lookAtColumns } from "./columns.ts";
import { lookAtCounts } from "./counts.ts";
import type { Finding } from "./finding.ts";
import { lookAtIndexOf } from "./index-of.ts";
import { lookAtLogin } from "./login.ts";
import { lookAtOutbox } from "./outbox.ts";
import { lookAtPeopleOnCall } from "./people-on-call.ts";
import { lookAtPushgateway } from "./pushgateway.ts";
import { lookAtRights } from "./rights.ts";
import type { GatewayScene, InstallationScene, LedgerScene } from "./scene.ts";
import { lookAtServer } from "./server.ts";
import { lookAtSoftDeleted } from "./soft-deleted.ts";
import { lookAtStatus } from "./status.ts";
import { lookAtTable } from "./table.ts";
import { lookAtTime } from "./time.ts";
import { lookAtTls } from "./tls.ts";
import { lookAtTotals } from "./totals.ts";
import { lookAtUnwatched } from "./unwatched.ts";

/** One look, and the name of its line. */
export interface Look<Scene> {
  name: string;
  /** It says nothing new where one of these is wrong (✗), or was left out: then it is left out, too. */
  needs?: readonly string[];
  /** It is left out where only the receiver is looked at. */
  ofSampler?: true;
  /** The table or the check whose count is doubtful where this finds something. */
  about?: string | Check;
  /** Resolves to undefined where there is nothing to look at. */
  find: (scene: Scene) => Promise<Finding | undefined>;
}

const server: Look<LedgerScene> = { name: "server", needs: ["login"], find: lookAtServer };

const ofTable = (table: string): Look<LedgerScene>[] => [
  { name: `table ${table}`, needs: ["login"], about: table, find: (scene) => lookAtTable(scene, table) },
  {
    name: `columns of ${table}`,
    needs: [`table ${table}`],
    about: table,
    find: (scene) => lookAtColumns(scene, table),
  },
  {
    name: `status of ${table}`,
    needs: [`columns of ${table}`],
    about: table,
    find: (scene) => lookAtStatus(scene, table),
  },
  {
    name: `unwatched ${table}`,
    needs: [`status of ${table}`],
    about: table,
    find: (scene) => lookAtUnwatched(scene, table),
  },
  ...[...new Set(checks.filter((check) => check.table === table).map(({ time }) => time))].map((time) => ({
    name: `time of ${table}`,
    needs: [`columns of ${table}`],
    about: table,
    find: (scene: LedgerScene) => lookAtTime(scene, table, time),
  })),
];

const ofCheck = (check: Check): Look<LedgerScene>[] => [
  {
    name: `check ${check.id}`,
    needs: [`time of ${check.table}`],
    about: check,
    find: (scene) => lookAtCheck(scene, check),
  },
  {
    name: `soft-deleted ${check.id}`,
    needs: [`check ${check.id}`],
    about: check,
    find: (scene) => lookAtSoftDeleted(scene, check),
  },
  { name: `index of ${check.id}`, needs: [`check ${check.id}`], find: (scene) => lookAtIndexOf(scene, check) },
];

const ofLedger = [...tables.flatMap(ofTable), ...checks.flatMap(ofCheck)];

/** The looks that need nothing of this service in the database, by a login of any role. */
export const firstLooks: readonly Look<LedgerScene>[] = [server, ...ofLedger];

const ofSampler: Look<InstallationScene>[] = [
  { name: "outbox", needs: ["login"], find: lookAtOutbox },
  ...ofLedger,
  { name: "people on call", needs: ["login"], find: lookAtPeopleOnCall },
  { name: "counts", needs: ["login"], find: lookAtCounts },
  { name: "accepted rows", needs: ["login"], find: lookAtAcceptedRows },
];

/** The looks on Postgres at an installation. */
export const installationLooks: readonly Look<InstallationScene>[] = [
  { name: "TLS", find: lookAtTls },
  { name: "login", find: lookAtLogin }, // Its role decides what all others find.
  { name: "rights", needs: ["login"], find: lookAtRights },
  server,
  ...ofSampler.map((look) => ({ ...look, ofSampler: true as const })),
  { name: "totals", needs: ["login", "server"], find: lookAtTotals },
];

/** The look at the gateway. */
export const gatewayLooks: readonly Look<GatewayScene>[] = [{ name: "Pushgateway", find: lookAtPushgateway }];

/** The line that a first look prints besides. */
export const firstDayName = "the first day";

/** Whether the doctor has a line of this name that may be doubtful. */
export const isLookName = (name: string): boolean =>
  name === firstDayName || [...installationLooks, ...gatewayLooks].some((look) => look.name === name);
