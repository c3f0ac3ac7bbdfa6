// What npm run generate writes is committed, and in step with what it is made from.
import { expect, it } from "vitest";
import { generate } from "../../generate/generate.ts";

it("no generated file is stale: npm run generate writes them again", async () => {
  const stale = (await generate()).filter(({ text, old }) => text !== old).map(({ file }) => file);
  expect(stale, "stale; run: npm run generate").toEqual([]);
});
