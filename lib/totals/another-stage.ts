import { isStage, stageRule } from "../settings/stage.ts";
import { Refusal } from "./refusal.ts";

/**
 * The totals in this database are another stage's: two stages that share them would each show the events of both. The
 * message is for people, and names both stages.
 */
export class AnotherStage extends Error {
  /** The stages by their names: empty for none. */
  constructor(stored: string, own: string) {
    const [theirs, here] = [stored, own].map(stageName);
    super(`the totals in this database are of ${theirs}, and STAGE here is of ${here}: docs/settings.md`);
  }
}

/** The request header by which a sender says its stage. */
export const stageHeader = "veza-stage";

/**
 * Refuses a delivery that names another stage than the receiver's `own`: a sender with the settings of another stage
 * would be counted there. Takes the header's value; without it, a delivery is of any stage. Throws a Refusal, 409, or
 * 400 for what is no stage.
 */
export function refuseOtherStage(header: unknown, own = ""): void {
  if (header === undefined) return;
  const sent = String(header);
  if (!isStage(sent)) throw new Refusal(400, `${stageHeader}: ${stageRule}`);
  if (sent === own) return;
  const [theirs, ours] = [sent, own].map(stageName);
  throw new Refusal(409, `${stageHeader}: the delivery is of ${theirs}, and this receiver of ${ours}`);
}

/** A stage in words. Its name is empty for none. */
export const stageName = (stage: string): string => (stage ? `the stage ${stage}` : "no stage");
