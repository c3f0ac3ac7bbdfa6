import { checks } from "../../lib/checks.ts";
import { tables } from "../rights.ts";
import { lookAtAccepted } from "./accepted.ts";
import { lookAtCheck } from "./check.ts";
import { lookAtColumns } from "./columns.ts";
import { lookAtCounts } from "./counts.ts";
import { lookAtGateway } from "./gateway.ts";
import { lookAtIndexes } from "./indexes.ts";
import { lookAtLogin } from "./login.ts";
import type { Look, Scene } from "./look.ts";
import { lookAtOnCall } from "./on-call.ts";
import { lookAtPersistence } from "./persistence.ts";
import { lookAtRights } from "./rights.ts";
import { lookAtServer } from "./server.ts";
import { lookAtShown } from "./shown.ts";
import { lookAtStatuses } from "./statuses.ts";
import { lookAtSurplus } from "./surplus.ts";
import { lookAtTable } from "./table.ts";
import { lookAtTime } from "./time.ts";
import { lookAtTls } from "./tls.ts";
import { lookAtTotals } from "./totals.ts";
import { lookAtUnwatched } from "./unwatched.ts";

/** A look on Postgres. It is behind the look at the login, whose role decides what all others find. */
const look = (name: string, look: Look["look"], more: Omit<Partial<Look>, "look"> = {}): Look => ({
  ...{ name, look, ...more },
  behind: ["login", ...(more.behind ?? [])],
});
/** A look at the ledger itself, which a login of any role can take. */
const onLedger = (name: string, take: Look["look"], more: Pick<Look, "behind" | "table" | "check"> = {}): Look =>
  look(name, take, { ...more, for: "sampler", isFirst: true });

const timesOf = (table: string) => new Set(checks.filter((check) => check.table === table).map(({ time }) => time));

/** The looks on a session, in their order. */
export const looks: Look[] = [
  { name: "TLS", look: lookAtTls },
  { name: "login", look: lookAtLogin },
  look("rights", lookAtRights),
  look("more rights than it needs", lookAtSurplus),
  look("server", lookAtServer, { isFirst: true }),
  ...tables.flatMap((table) => [
    onLedger(`table ${table}`, (scene) => lookAtTable(scene, table), { table }),
    onLedger(`columns of ${table}`, (scene) => lookAtColumns(scene, table), { table, behind: [`table ${table}`] }),
    onLedger(`status of ${table}`, (scene) => lookAtStatuses(scene, table), { table, behind: [`columns of ${table}`] }),
    onLedger(`unwatched ${table}`, (scene) => lookAtUnwatched(scene, table), {
      table,
      behind: [`columns of ${table}`],
    }),
    ...[...timesOf(table)].map((time) =>
      onLedger(`time of ${table}`, (scene) => lookAtTime(scene, table, time), {
        ...{ table, behind: [`columns of ${table}`] },
      }),
    ),
  ]),
  ...checks.map((check) =>
    onLedger(`check ${check.id}`, (scene) => lookAtCheck(scene, check), {
      ...{ check: check.id, behind: [`time of ${check.table}`] },
    }),
  ),
  onLedger("indexes", lookAtIndexes),
  look("people on call", lookAtOnCall, { for: "sampler" }),
  look("counts", lookAtCounts, { for: "sampler" }),
  look("accepted rows", lookAtAccepted, { for: "sampler" }),
  look("totals", lookAtTotals, { behind: ["server"] }),
  look("totals on the gateway", lookAtShown, { behind: ["totals"] }),
];

/** The looks at the gateway, in their order. */
export const gatewayLooks: Look<Scene>[] = [
  { name: "Pushgateway", look: lookAtGateway },
  { name: "Pushgateway's memory", behind: ["Pushgateway"], look: lookAtPersistence },
];
