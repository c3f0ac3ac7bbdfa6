// Whether Alertmanager's file leads pages to people, and what is left to do about it.

/** Of the two routes that this project ships. */
const ours = /^(veza-ledger-)?(pages|tickets)$/;

/**
 * Sentences for what is left to do. `text` is Alertmanager's file, `receiver` is where amtool says that a page goes:
 * several have commas between them. `stage` may be empty. `repository` is where people read the documents.
 */
export function leftOfRoute(
  text: string,
  { file, receiver, stage, repository }: { file: string; receiver: string; stage: string; repository: string },
): string[] {
  const receivers = receiver.split(",").filter((name) => ours.test(name));
  if (receivers.length === 0) {
    return [`Give Alertmanager the route: ${repository}/docs/servers-in-use.md#alertmanager`];
  }
  const examples = text.split("\n").flatMap((line, at) => (line.includes("127.0.0.1:9999") ? [at + 1] : []));
  const left: string[] = [];
  if (examples.length > 0) {
    const lines = examples.join(" ");
    left.push(`Replace the examples in ${file}, lines ${lines}: its comments say by what. Then: ./setup rules`);
  }
  if (!receivers.some((name) => name.endsWith("pages"))) {
    left.push(`If customers pay on ${stage}, name it beside prod in ${file}. Then: ./setup rules`);
  }
  return left;
}
