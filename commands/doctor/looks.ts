// The looks of the doctor, in the order of its lines. A look named "accepted rows" is in accepted-rows.ts, and one
// named "table orders" in table.ts: a file has the name that is printed, and so has its function. Three lines are no
// looks: "settings" (settings.ts) and "Postgres" (postgres.ts) come before them, and "the first day" is of
// count-by-url.ts.
import { type Check, checks } from "../../lib/counts/checks.ts";
import { tables } from "../declared-rights.ts";
import { lookAtAcceptedRows } from "./accepted-rows.ts";
import { lookAtCheck } from "./check.ts";
import { lookAtColumns } from "./columns.ts";
import { lookAtCounts } from "./counts.ts";
import { lookAtIndexes } from "./indexes.ts";
import { lookAtLogin } from "./login.ts";
import type { Look } from "./look.ts";
import { lookAtMoreRights } from "./more-rights.ts";
import { lookAtPeopleOnCall } from "./people-on-call.ts";
import { lookAtPushgateway } from "./pushgateway.ts";
import { lookAtPushgatewayMemory } from "./pushgateway-memory.ts";
import { lookAtRights } from "./rights.ts";
import type { GatewayScene, InstallationScene, LedgerScene } from "./scene.ts";
import { lookAtServer } from "./server.ts";
import { lookAtStatus } from "./status.ts";
import { lookAtTable } from "./table.ts";
import { lookAtTime } from "./time.ts";
import { lookAtTls } from "./tls.ts";
import { lookAtTotals } from "./totals.ts";
import { lookAtTotalsOnTheGateway } from "./totals-on-the-gateway.ts";
import { lookAtUnwatched } from "./unwatched.ts";

/** A look at the ledger: at one of its tables, for one of the checks, or at all of it. */
export interface LedgerLook extends Look<LedgerScene> {
  table?: string;
  check?: Check;
}

/** The login's role decides what the other looks on Postgres find, so that they all need this one. */
const login: Look<LedgerScene> = { name: "login", find: lookAtLogin };

const server: LedgerLook = { name: "server", needs: [login], find: lookAtServer };

/** The looks at a table. Those at its times are apart, since the looks at its checks need them. */
function looksAt(table: string) {
  const place: LedgerLook = {
    name: `table ${table}`,
    needs: [login],
    for: "sampler",
    table,
    find: (scene) => lookAtTable(scene, table),
  };
  const columns: LedgerLook = {
    name: `columns of ${table}`,
    needs: [login, place],
    for: "sampler",
    table,
    find: (scene) => lookAtColumns(scene, table),
  };
  const status: LedgerLook = {
    name: `status of ${table}`,
    needs: [login, columns],
    for: "sampler",
    table,
    find: (scene) => lookAtStatus(scene, table),
  };
  const unwatched: LedgerLook = {
    name: `unwatched ${table}`,
    needs: [login, columns],
    for: "sampler",
    table,
    find: (scene) => lookAtUnwatched(scene, table),
  };
  const columnsOfTimes = new Set(checks.filter((check) => check.table === table).map(({ time }) => time));
  const times = [...columnsOfTimes].map(
    (time): LedgerLook => ({
      name: `time of ${table}`,
      needs: [login, columns],
      for: "sampler",
      table,
      find: (scene) => lookAtTime(scene, table, time),
    }),
  );
  return { table, times, all: [place, columns, status, unwatched, ...times] };
}

const tableLooks = tables.map(looksAt);

const checkLooks = checks.map((check): LedgerLook => {
  const times = tableLooks.filter(({ table }) => table === check.table).flatMap((looks) => looks.times);
  return {
    name: `check ${check.id}`,
    needs: [login, ...times],
    for: "sampler",
    check,
    find: (scene) => lookAtCheck(scene, check),
  };
});

const indexes: LedgerLook = { name: "indexes", needs: [login], for: "sampler", find: lookAtIndexes };

/** The looks that a login of any role can take, where nothing of this service is installed. */
export const ledgerLooks: readonly LedgerLook[] = [
  server,
  ...tableLooks.flatMap(({ all }) => all),
  ...checkLooks,
  indexes,
];

const totals: Look<InstallationScene> = { name: "totals", needs: [login, server], find: lookAtTotals };

/** The looks on Postgres at an installation, those at the ledger included. */
export const postgresLooks: readonly Look<InstallationScene>[] = [
  { name: "TLS", find: lookAtTls },
  login,
  { name: "rights", needs: [login], find: lookAtRights },
  { name: "more rights than it needs", needs: [login], find: lookAtMoreRights },
  ...ledgerLooks,
  { name: "people on call", needs: [login], for: "sampler", find: lookAtPeopleOnCall },
  { name: "counts", needs: [login], for: "sampler", find: lookAtCounts },
  { name: "accepted rows", needs: [login], for: "sampler", find: lookAtAcceptedRows },
  totals,
  { name: "totals on the gateway", needs: [login, totals], find: lookAtTotalsOnTheGateway },
];

const pushgateway: Look<GatewayScene> = { name: "Pushgateway", find: lookAtPushgateway };

/** The looks at the gateway. */
export const gatewayLooks: readonly Look<GatewayScene>[] = [
  pushgateway,
  { name: "Pushgateway's memory", needs: [pushgateway], find: lookAtPushgatewayMemory },
];

/** The name of the line that says which rows would fire on the first day. */
export const firstDayName = "the first day";

/** Whether the doctor has a line of this name, in which it may find something doubtful. */
export const isLook = (name: string): boolean =>
  name === firstDayName || [...postgresLooks, ...gatewayLooks].some((look) => look.name === name);
