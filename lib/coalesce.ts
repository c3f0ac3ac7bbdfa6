/** Keeps one call of `work` small, however many wait. */
const maxItems = 500;

/**
 * Lets callers at the same time share calls of `work`: one call runs at a time, and takes what came while the one before
 * it ran, at most 500 items, in the order in which they came. `work` resolves to the items' results in the same order.
 *
 * Each caller gets the result of its own item, or the error of the call that took it. A call is as late as its `work`
 * lets it be: a limit on the waiting is the caller's.
 */
export function coalesce<Item, Result>(work: (items: Item[]) => Promise<Result[]>): (item: Item) => Promise<Result> {
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
