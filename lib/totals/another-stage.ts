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

/** A stage in words. Its name is empty for none. */
export const stageName = (stage: string): string => (stage ? `the stage ${stage}` : "no stage");
