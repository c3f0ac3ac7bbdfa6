import { expect, it } from "vitest";
import { takenOf } from "../../commands/oncall/takeback.ts";

it.each([
  ["id", { kind: "", number: undefined, isNow: false }],
  ["id now", { kind: "", number: undefined, isNow: true }],
  ["id sweep", { kind: "sweep", number: undefined, isNow: false }],
  ["id action stuck_orders 4", { kind: "action stuck_orders", number: "4", isNow: false }],
  ["id orphan refund 2 now", { kind: "orphan refund", number: "2", isNow: true }],
])("reads takeback %s", (words, taken) => {
  expect(takenOf(words.split(" "))).toEqual({ id: "id", ...taken });
});

it.each([
  [[], "Say which delivery"],
  [["id", "typo", "now"], "there is no kind 'typo'. The kinds are: action stuck_orders, "],
  [["id", "now", "sweep"], "there is no kind 'now sweep'"],
  [["id", "action"], "there is no kind 'action'"],
  [["id", "sweep", "1"], "a number goes with an action or with orphan refund"],
  [["id", "3"], "a number goes with an action or with orphan refund"],
])("refuses takeback %j", (words, says) => {
  expect(() => takenOf(words)).toThrow(`Nothing is taken back`);
  expect(() => takenOf(words)).toThrow(says);
});
