import { expect, it } from "vitest";
import { coalesce } from "../lib/coalesce.ts";

/** Work that is done when the test says so, and what it was called with. */
function controlled(maxItems = Number.POSITIVE_INFINITY) {
  const calls: { items: number[]; resolve: (results: string[]) => void; reject: (error: Error) => void }[] = [];
  const share = coalesce(
    maxItems,
    (items: number[]) => new Promise<string[]>((resolve, reject) => calls.push({ items, resolve, reject })),
  );
  const answer = (call: number) => calls[call]?.resolve(calls[call].items.map((item) => `result ${item}`));
  return { calls, share, answer };
}

it("lets those that come in the same moment, and those that come during a call, share one", async () => {
  const { calls, share, answer } = controlled();
  const early = [share(1), share(2)];
  await expect.poll(() => calls.length).toBe(1);
  const late = [share(3), share(4), share(5)];
  answer(0);
  expect(await Promise.all(early)).toEqual(["result 1", "result 2"]);
  await expect.poll(() => calls.length).toBe(2);
  answer(1);
  expect(await Promise.all(late)).toEqual(["result 3", "result 4", "result 5"]);
  expect(calls.map(({ items }) => items)).toEqual([
    [1, 2],
    [3, 4, 5],
  ]);
});

it("never runs two calls at once, and takes at most as many items a call as it may", async () => {
  const { calls, share, answer } = controlled(500);
  const all = Promise.all(Array.from({ length: 1_001 }, (_, item) => share(item)));
  for (const [call, size] of [500, 500, 1].entries()) {
    await expect.poll(() => calls.length).toBe(call + 1);
    expect(calls[call]?.items).toHaveLength(size);
    answer(call);
  }
  expect(await all).toEqual(Array.from({ length: 1_001 }, (_, item) => `result ${item}`));
});

it("fails those that a failed call took, and goes on with the next", async () => {
  const { calls, share, answer } = controlled();
  const failing = Promise.allSettled([share(1), share(2)]);
  await expect.poll(() => calls.length).toBe(1);
  const later = share(3);
  calls[0]?.reject(new Error("no"));
  expect(await failing).toMatchObject([{ reason: { message: "no" } }, { reason: { message: "no" } }]);
  await expect.poll(() => calls.length).toBe(2);
  answer(1);
  expect(await later).toBe("result 3");
});
