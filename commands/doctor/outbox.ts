// The look "outbox": whether the sampler reads the reconciler's outbox, where that is in this database.
import { sessionQuestion } from "../../lib/postgres/session-facts.ts";
import { tables } from "../declared-rights.ts";
import { type Finding, well, wrong } from "./finding.ts";
import type { LedgerScene } from "./scene.ts";

/** Says what a tick finds of an outbox. One that could be somebody else's is not read, which is wrong. */
export async function lookAtOutbox({ ask, database }: LedgerScene): Promise<Finding> {
  const [facts] = await ask(sessionQuestion(database.ledger.schema, tables));
  if (!facts?.hasOutbox) return well("none here that this login may read");
  if (!facts.outboxProblem) return well("public.ledger_metrics_outbox");
  return wrong(
    `public.ledger_metrics_outbox ${facts.outboxProblem}: it is not read`,
    "the table of clients/go/outbox.sql, of who owns the ledger's tables",
    "if it is the reconciler's, give it to that owner, and in the same transaction grant its old owner select, " +
      "insert, update and delete on it",
    "otherwise have its owner drop it",
  );
}
