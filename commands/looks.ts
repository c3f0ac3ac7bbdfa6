import { checks } from "../lib/checks.ts";
import { type Look, tables, timesOf } from "./look.ts";
import { lookAtAccepted } from "./looks/accepted.ts";
import { lookAtCheck } from "./looks/check.ts";
import { lookAtColumns } from "./looks/columns.ts";
import { lookAtCounts } from "./looks/counts.ts";
import { lookAtGateway } from "./looks/gateway.ts";
import { lookAtIndexes } from "./looks/indexes.ts";
import { lookAtLogin } from "./looks/login.ts";
import { lookAtPersistence } from "./looks/persistence.ts";
import { lookAtPostgres, lookAtTls } from "./looks/postgres.ts";
import { lookAtReading } from "./looks/reading.ts";
import { lookAtOncall, lookAtRights } from "./looks/rights.ts";
import { lookAtRole } from "./looks/role.ts";
import { lookAtServer } from "./looks/server.ts";
import { lookAtSettings } from "./looks/settings.ts";
import { lookAtShown } from "./looks/shown.ts";
import { lookAtStandby } from "./looks/standby.ts";
import { lookAtStatuses } from "./looks/statuses.ts";
import { lookAtTable } from "./looks/table.ts";
import { lookAtTime } from "./looks/time.ts";
import { lookAtTotals } from "./looks/totals.ts";

/** A look on Postgres. With the wrong login, it would find what is wrong for another role. */
const onPostgres = (name: string, look: Look["look"], more: Omit<Partial<Look>, "look"> = {}): Look => ({
  ...{ name, look, on: "Postgres", ...more },
  behind: ["login", ...(more.behind ?? [])],
});
/** A look at the ledger itself, which a login of any role can take. */
const onLedger = (name: string, look: Look["look"], behind: string[] = []): Look =>
  onPostgres(name, look, { behind, for: "sampler", isFirst: true });

/** All looks, in their order. */
export const looks: Look[] = [
  { name: "settings", look: lookAtSettings },
  { name: "Postgres", behind: ["settings"], on: "Postgres", look: lookAtPostgres },
  { name: "TLS", behind: ["Postgres"], on: "Postgres", look: lookAtTls },
  { name: "login", behind: ["Postgres"], on: "Postgres", look: lookAtLogin },
  onPostgres("role's settings", lookAtRole),
  onPostgres("ways to read", lookAtReading, { for: "sampler" }),
  onPostgres("rights", lookAtRights, { isFirst: true }),
  onPostgres("rights on call", lookAtOncall, { for: "sampler" }),
  onPostgres("server", lookAtServer, { isFirst: true }),
  ...tables.flatMap((table) => [
    onLedger(`table ${table}`, (scene) => lookAtTable(scene, table), ["role's settings"]),
    onLedger(`columns of ${table}`, (scene) => lookAtColumns(scene, table), [`table ${table}`]),
    onLedger(`status of ${table}`, (scene) => lookAtStatuses(scene, table), [`columns of ${table}`]),
    ...timesOf(table).map((time) =>
      onLedger(`time of ${table}`, (scene) => lookAtTime(scene, table, time), [`columns of ${table}`]),
    ),
  ]),
  ...checks.map((check) =>
    onLedger(`check ${check.id}`, (scene) => lookAtCheck(scene, check), [`time of ${check.table}`]),
  ),
  onLedger("indexes", lookAtIndexes),
  onLedger("counts", lookAtCounts),
  onPostgres("accepted rows", lookAtAccepted, { for: "sampler" }),
  onPostgres("totals", lookAtTotals, { behind: ["server"] }),
  onPostgres("totals on the gateway", lookAtShown, { behind: ["totals"] }),
  onPostgres("standby", lookAtStandby),
  { name: "Pushgateway", behind: ["settings"], look: lookAtGateway },
  { name: "Pushgateway's memory", behind: ["Pushgateway"], look: lookAtPersistence },
];
