// What people load into their monitoring, the file of people on call, and the drill.
import { mkdirSync } from "node:fs";
import { parsePushgateway } from "../../lib/settings/parse.ts";
import { drill } from "../drill.ts";
import { linked } from "../links.ts";
import { authorities, trust } from "./database.ts";
import { put } from "./put.ts";
import { gatewaySettings } from "./secrets.ts";
import type { Stage } from "./stage.ts";
import { program, withOwnSignals } from "./step.ts";

/** Writes the rules and the dashboard, with the stage's addresses in their links: each as a whole, or not at all. */
export function writeRules(stage: Stage): void {
  const { rules, dashboard } = linked("config", stage);
  mkdirSync("dist", { recursive: true });
  for (const [file, text] of [
    ["dist/ledger.yml", rules],
    ["dist/ledger.json", dashboard],
  ] as const) {
    put(file, text);
    console.log(`Written: ${file}`);
  }
  console.log(
    stage.stage === "prod"
      ? "A page of prod wakes people, by the route of config/alertmanager/alertmanager.yml."
      : `A page of ${stage.stage} is a ticket. If customers pay there, add it to prod|drill| in your route.`,
  );
}

/** Writes oncall-STAGE.mjs; resolves to 2 where an address does not answer, and to 1 where it was not written. */
export async function writeForPeopleOnCall(stage: Stage): Promise<number> {
  const { gateway, token } = await gatewaySettings(stage);
  return await program(["npm", "run", "--silent", "oncall", "--", `oncall-${stage.stage}.mjs`], {
    STAGE: stage.stage,
    PROMETHEUS_URL: stage.prometheus,
    ALERTMANAGER_URL: stage.alertmanager,
    HYPERSWITCH_URL: stage.hyperswitch,
    DATABASE_URL: `postgres://veza_ledger_oncall@${stage.database}`,
    LEDGER_SCHEMA: stage.schema,
    LEDGER_TIMEZONE: stage.timezone,
    PGSSLMODE: "verify-full",
    PGSSLROOTCERT: await authorities(stage),
    PUSHGATEWAY_URL: gateway,
    PUSHGATEWAY_TOKEN: token,
  });
}

/** Sends one alert through the monitoring; resolves to the drill's exit code. */
export async function sendDrill(stage: Stage): Promise<number> {
  await trust(stage);
  const { gateway, token } = await gatewaySettings(stage);
  const target = parsePushgateway({ PUSHGATEWAY_URL: gateway, PUSHGATEWAY_TOKEN: token }, []);
  return target ? await withOwnSignals(() => drill(target, console)) : 2;
}
