import { expect, it } from "vitest";
import { wordsOf } from "../../commands/oncall/terminal.ts";

it("splits a line into words, as a shell does with quotes", () => {
  expect(wordsOf(`takeback  id_1 'action stuck_orders' "it's" a'b c'd ''`)).toEqual([
    "takeback",
    "id_1",
    "action stuck_orders",
    "it's",
    "ab cd",
    "",
  ]);
  expect(wordsOf("rows 'x")).toBeUndefined();
});
