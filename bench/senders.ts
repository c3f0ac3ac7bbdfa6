/** Runs `senders` loops, each awaiting `work` `timesEach` times. Resolves to calls per second. */
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
