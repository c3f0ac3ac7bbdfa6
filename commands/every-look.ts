import { tables } from "../config/rights.ts";
import { checks } from "../lib/checks.ts";
import { lookAtAccepted } from "./looks/accepted.ts";
import { lookAtCheck } from "./looks/check.ts";
import { lookAtColumns } from "./looks/columns.ts";
import { lookAtCounts } from "./looks/counts.ts";
import { lookAtGateway } from "./looks/gateway.ts";
import { lookAtIndexes } from "./looks/indexes.ts";
import { lookAtLogin } from "./looks/login.ts";
import { lookAtMigration } from "./looks/migration.ts";
import { lookAtPersistence } from "./looks/persistence.ts";
import { lookAtServer } from "./looks/server.ts";
import { lookAtShown } from "./looks/shown.ts";
import { lookAtStandby } from "./looks/standby.ts";
import { lookAtStatuses } from "./looks/statuses.ts";
import { lookAtTable } from "./looks/table.ts";
import { lookAtTime } from "./looks/time.ts";
import { lookAtTls } from "./looks/tls.ts";
import { lookAtTotals } from "./looks/totals.ts";
import type { Look, Scene } from "./take-looks.ts";

/** A look on Postgres. With the wrong login, it would find what is wrong for another role. */
const look = (name: string, look: Look["look"], more: Omit<Partial<Look>, "look"> = {}): Look => ({
  ...{ name, look, ...more },
  behind: ["login", ...(more.behind ?? [])],
});
/** A look at the ledger itself, which a login of any role can take. */
const onLedger = (name: string, take: Look["look"], behind: string[] = []): Look =>
  look(name, take, { behind, for: "sampler", isFirst: true });

const timesOf = (table: string) => new Set(checks.filter((check) => check.table === table).map(({ time }) => time));

/** The looks on a session, in their order. */
export const looks: Look[] = [
  { name: "TLS", look: lookAtTls },
  { name: "login", look: lookAtLogin },
  look("migration", lookAtMigration),
  look("server", lookAtServer, { isFirst: true }),
  ...tables.flatMap((table) => [
    onLedger(`table ${table}`, (scene) => lookAtTable(scene, table)),
    onLedger(`columns of ${table}`, (scene) => lookAtColumns(scene, table), [`table ${table}`]),
    onLedger(`status of ${table}`, (scene) => lookAtStatuses(scene, table), [`columns of ${table}`]),
    ...[...timesOf(table)].map((time) =>
      onLedger(`time of ${table}`, (scene) => lookAtTime(scene, table, time), [`columns of ${table}`]),
    ),
  ]),
  ...checks.map((check) =>
    onLedger(`check ${check.id}`, (scene) => lookAtCheck(scene, check), [`time of ${check.table}`]),
  ),
  onLedger("indexes", lookAtIndexes),
  look("counts", lookAtCounts, { for: "sampler" }),
  look("accepted rows", lookAtAccepted, { for: "sampler" }),
  look("totals", lookAtTotals, { behind: ["server"] }),
  look("totals on the gateway", lookAtShown, { behind: ["totals"] }),
  look("standby", lookAtStandby),
];

/** The looks at the gateway, in their order. */
export const gatewayLooks: Look<Scene>[] = [
  { name: "Pushgateway", look: lookAtGateway },
  { name: "Pushgateway's memory", behind: ["Pushgateway"], look: lookAtPersistence },
];
