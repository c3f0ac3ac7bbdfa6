// Ends the alerts of a stage whose functions are removed.
import { setTimeout as sleep } from "node:timers/promises";
import type { Command, Context } from "./command.ts";
import { lastPushes } from "./gateway-page.ts";
import { addSilence, equal } from "./silence.ts";
import { Refusal } from "./terminal.ts";

async function retire(context: Context, ...words: string[]): Promise<void> {
  const { confirmed, print, servers, signal, stage: own } = context;
  const [stage] = words;
  if (stage === undefined || words.length > 1) {
    throw new Refusal("Nothing is done. Which stage? retire staging, or retire '' if it has no name");
  }
  if (own.gateway) {
    const before = lastPushes(await servers.gateway("/metrics"), stage);
    if (before.length === 0) throw new Refusal(`Nothing is done: the gateway has no stage '${stage}'.`);
    print("This watches the gateway for 2 minutes.");
    await sleep(120_000, undefined, { signal });
    const after = lastPushes(await servers.gateway("/metrics"), stage);
    if (after.join() !== before.join()) {
      throw new Refusal("Nothing is done: a function still pushes to this stage. Remove it first.");
    }
    print(...after.map((at) => `Pushed last ${Math.floor(Date.now() / 1_000 - at)} s ago.`));
  }
  await confirmed(`if the stage '${stage}' is retired, and not only down`);
  if (own.gateway) {
    for (const job of ["veza_ledger", "veza_reconciler"]) {
      await servers.gateway(`/metrics/job/${job}${stage && `/stage/${encodeURIComponent(stage)}`}`, "DELETE");
    }
  }
  const ofStage = [{ ...equal("alertname", "VezaLedger.+"), isRegex: true }, equal("stage", stage)];
  await addSilence(context, ofStage, 25 * 3600, `the stage ${stage} was retired`);
  print(
    "Its alerts end by themselves, and are silenced for 25 hours. The ticket of orphan refunds can last for 3 days.",
  );
}

export const retireCommands: Command[] = [
  {
    name: "retire",
    calls: ["retire STAGE"],
    help: "Ends the alerts of a stage whose functions are removed.",
    run: retire,
  },
];
