// The looks of the doctor, from top to bottom in the order of its lines. A look named "accepted rows" is in
// accepted-rows.ts, and one named "table orders" in table.ts: a file has the name that is printed, and so has its
// function. Three lines are no looks: "settings" (settings.ts) and "Postgres" (postgres.ts) come before them, and "the
// first day" is of count-by-url.ts.
import { type Check, checks } from "../../lib/counts/checks.ts";
import { tables } from "../declared-rights.ts";
import { lookAtAcceptedRows } from "./accepted-rows.ts";
import { lookAtCheck } from "./check.ts";
import { lookAtColumns } from "./columns.ts";
import { lookAtCounts } from "./counts.ts";
import type { Finding } from "./finding.ts";
import { lookAtIndexes } from "./indexes.ts";
import { lookAtLogin } from "./login.ts";
import { lookAtMoreRights } from "./more-rights.ts";
import { lookAtNeighbours } from "./neighbours.ts";
import { lookAtPeopleOnCall } from "./people-on-call.ts";
import { lookAtPushgateway } from "./pushgateway.ts";
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

/** The names of all lines that may be doubtful, for --known. */
const names = [
  "TLS",
  "login",
  "rights",
  "more rights than it needs",
  "neighbours",
  "server",
  ...tables.flatMap(
    (table) =>
      [
        `table ${table}`,
        `columns of ${table}`,
        `status of ${table}`,
        `unwatched ${table}`,
        `time of ${table}`,
      ] as const,
  ),
  ...checks.map(({ id }) => `check ${id}` as const),
  "indexes",
  "people on call",
  "counts",
  "accepted rows",
  "totals",
  "totals on the gateway",
  "Pushgateway",
  "the first day",
] as const;
export type LookName = (typeof names)[number];

/** Whether the doctor has a line of this name that may be doubtful. */
export const isLookName = (name: string): name is LookName => (names as readonly string[]).includes(name);

/** The table or the check whose count a look finds doubtful. */
export type About = string | Check | undefined;

/**
 * Takes one look: `find` resolves to what was found, or to undefined where there is nothing to look at. Resolves to
 * false if something is wrong (✗): looks that build on this one are left out then. Never throws.
 */
export type Take = (name: LookName, find: () => Promise<Finding | undefined>, about?: About) => Promise<boolean>;

/** Takes the looks on Postgres at an installation. */
export async function examineInstallation(take: Take, scene: InstallationScene): Promise<void> {
  const { sampler } = scene.functions;
  await take("TLS", () => lookAtTls(scene));
  // The login's role decides what all other looks find.
  if (!(await take("login", () => lookAtLogin(scene)))) return;
  await take("rights", () => lookAtRights(scene));
  await take("more rights than it needs", () => lookAtMoreRights(scene));
  const isPrimary = await take("server", () => lookAtServer(scene));
  if (sampler) {
    await take("neighbours", () => lookAtNeighbours(scene));
    await examineLedger(take, scene);
    await take("people on call", () => lookAtPeopleOnCall(scene));
    await take("counts", () => lookAtCounts(scene));
    await take("accepted rows", () => lookAtAcceptedRows(scene));
  }
  if (!isPrimary) return;
  if (!(await take("totals", () => lookAtTotals(scene)))) return;
  await take("totals on the gateway", () => lookAtTotalsOnTheGateway(scene));
}

/** Takes the looks that need nothing of this service in the database, by a login of any role. */
export async function examineLedger(take: Take, scene: LedgerScene): Promise<void> {
  const countable: string[] = [];
  for (const table of tables) if (await examineTable(take, scene, table)) countable.push(table);
  for (const check of checks) {
    if (countable.includes(check.table)) await take(`check ${check.id}`, () => lookAtCheck(scene, check), check);
  }
  await take("indexes", () => lookAtIndexes(scene));
}

/** Takes the looks at a table. Resolves to whether its checks can count by its times. */
async function examineTable(take: Take, scene: LedgerScene, table: string): Promise<boolean> {
  if (!(await take(`table ${table}`, () => lookAtTable(scene, table), table))) return false;
  if (!(await take(`columns of ${table}`, () => lookAtColumns(scene, table), table))) return false;
  await take(`status of ${table}`, () => lookAtStatus(scene, table), table);
  await take(`unwatched ${table}`, () => lookAtUnwatched(scene, table), table);
  let isCountable = true;
  for (const time of new Set(checks.filter((check) => check.table === table).map((check) => check.time))) {
    if (!(await take(`time of ${table}`, () => lookAtTime(scene, table, time), table))) isCountable = false;
  }
  return isCountable;
}

/** Takes the look at the gateway. */
export async function examineGateway(take: Take, scene: GatewayScene): Promise<void> {
  await take("Pushgateway", () => lookAtPushgateway(scene));
}
