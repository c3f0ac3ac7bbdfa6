/**
 * The totals in this database are another stage's: two stages that share them would each show the events of both. The
 * message is for people, and names both stages.
 */
export class AnotherStage extends Error {
  /** The stages by their names: empty for none. */
  constructor(stored: string, own: string) {
    const nameOf = (stage: string) => (stage ? `the stage ${stage}` : "no stage");
    super(
      `the totals in this database are of ${nameOf(stored)}, and STAGE here is of ${nameOf(own)}: docs/settings.md`,
    );
  }
}
