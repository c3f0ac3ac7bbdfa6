import { checks } from "../lib/checks.ts";
import { type Look, tables, timesOf } from "./look.ts";
import { lookAtAccepted } from "./looks/accepted.ts";
import { lookAtCheck } from "./looks/check.ts";
import { lookAtCounts } from "./looks/counts.ts";
import { lookAtGateway } from "./looks/gateway.ts";
import { lookAtIndexes } from "./looks/indexes.ts";
import { lookAtLogin } from "./looks/login.ts";
import { lookAtPersistence } from "./looks/persistence.ts";
import { lookAtPostgres, lookAtTls } from "./looks/postgres.ts";
import { lookAtReading } from "./looks/reading.ts";
import { lookAtRights } from "./looks/rights.ts";
import { lookAtRole } from "./looks/role.ts";
import { lookAtServer } from "./looks/server.ts";
import { lookAtSecret, lookAtSettings } from "./looks/settings.ts";
import { lookAtShown } from "./looks/shown.ts";
import { lookAtStandby } from "./looks/standby.ts";
import { lookAtStatuses } from "./looks/statuses.ts";
import { lookAtTable } from "./looks/table.ts";
import { lookAtTime } from "./looks/time.ts";
import { lookAtTotals } from "./looks/totals.ts";

/** The looks at the ledger, which need no role of roles.sql. Both the doctor and the first look take them. */
export const ledgerLooks: Look[] = [
  { name: "server", look: lookAtServer },
  ...tables.flatMap((table): Look[] => [
    { name: `table ${table}`, look: (scene) => lookAtTable(scene, table) },
    { name: `status of ${table}`, behind: [`table ${table}`], look: (scene) => lookAtStatuses(scene, table) },
    ...timesOf(table).map(
      (time): Look => ({
        name: `time of ${table}`,
        behind: [`table ${table}`],
        look: (scene) => lookAtTime(scene, table, time),
      }),
    ),
  ]),
  ...checks.map((check): Look => ({ name: `check ${check.id}`, look: (scene) => lookAtCheck(scene, check) })),
  { name: "indexes", look: lookAtIndexes },
].map((look) => ({ ...look, on: "Postgres" }));

/** The doctor's looks, in their order. */
export const looks: Look[] = [
  { name: "secret", look: lookAtSecret },
  { name: "settings", behind: ["secret"], look: lookAtSettings },
  { name: "Postgres", behind: ["settings"], on: "Postgres", look: lookAtPostgres },
  { name: "TLS", behind: ["Postgres"], on: "Postgres", look: lookAtTls },
  { name: "login", behind: ["Postgres"], on: "Postgres", look: lookAtLogin },
  { name: "role's settings", behind: ["login"], on: "Postgres", look: lookAtRole },
  { name: "ways to read", behind: ["login"], on: "Postgres", for: "sampler", look: lookAtReading },
  { name: "rights", behind: ["login"], on: "Postgres", look: lookAtRights },
  ...ledgerLooks.map((look): Look => ({ ...look, behind: ["login", ...(look.behind ?? [])], for: "sampler" })),
  { name: "counts", behind: ["login"], on: "Postgres", for: "sampler", look: lookAtCounts },
  { name: "accepted rows", behind: ["login"], on: "Postgres", for: "sampler", look: lookAtAccepted },
  { name: "totals", behind: ["login"], on: "Postgres", look: lookAtTotals },
  { name: "totals on the gateway", behind: ["totals"], on: "Postgres", look: lookAtShown },
  { name: "standby", behind: ["login"], on: "Postgres", look: lookAtStandby },
  { name: "Pushgateway", behind: ["settings"], look: lookAtGateway },
  { name: "Pushgateway's memory", behind: ["Pushgateway"], look: lookAtPersistence },
];
