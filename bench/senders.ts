/** Runs senders at the same time. Each does `work` so often, one after the other. Resolves to how often a second it was. */
export async function sendAll(
  senders: number,
  timesEach: number,
  work: (sender: number) => Promise<unknown>,
): Promise<number> {
  const startedAt = performance.now();
  const send = async (sender: number) => {
    for (let time = 0; time < timesEach; time += 1) await work(sender);
  };
  await Promise.all(Array.from({ length: senders }, (_, sender) => send(sender)));
  return (1000 * senders * timesEach) / (performance.now() - startedAt);
}
