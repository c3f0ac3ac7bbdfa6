/**
 * Lets callers at the same time share calls of `work`: one call runs at a time, and takes what came in the same
 * moment or while the one before it ran, at most `maxItems`, in the order in which they came. `work` resolves to the
 * items' results in the same order.
 *
 * Each caller gets the result of its own item, or the error of the call that took it. Sets no time limit: `work` has to
 * settle by itself, and a caller that will not wait so long uses orAbort.
 */
export function coalesce<Item, Result>(
  maxItems: number,
  work: (items: Item[]) => Promise<Result[]>,
): (item: Item) => Promise<Result> {
  const waiting: { item: Item; resolve: (result: Result) => void; reject: (error: unknown) => void }[] = [];
  let isRunning = false;

  const run = async () => {
    isRunning = true;
    while (waiting.length > 0) {
      // Those that come in the same moment go together; otherwise the first of them would go alone.
      await new Promise(setImmediate);
      const callers = waiting.splice(0, maxItems);
      try {
        const results = await work(callers.map(({ item }) => item));
        for (const [index, { resolve }] of callers.entries()) resolve(results[index] as Result);
      } catch (error) {
        for (const { reject } of callers) reject(error);
      }
    }
    isRunning = false;
  };

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (!isRunning) run();
    });
}
