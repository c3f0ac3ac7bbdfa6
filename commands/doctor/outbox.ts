// The look "outbox": whether the sampler reads the reconciler's outbox, where that is in this database.
import { sessionQuestion } from "../../lib/postgres/session-facts.ts";
import { type Finding, well } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/** Says whether a tick reads an outbox. The look "rights" says what it lacks where one is there. */
export async function lookAtOutbox({ ask, database }: LedgerScene): Promise<Finding> {
  const [facts] = await ask(sessionQuestion(database.ledger.schema));
  return well(facts?.hasOutbox ? "ledger_outbox.deliveries" : "none here that this login may read");
}
