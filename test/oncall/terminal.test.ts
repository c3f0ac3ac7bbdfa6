import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { ownTerminal, type Streams, wordsOf } from "../../commands/oncall/terminal.ts";

it("has 80 columns where a terminal reports none", () => {
  const stdout = Object.assign(new PassThrough(), { isTTY: true, columns: 0 });
  const { columns, print } = ownTerminal({ ...process, stdout } as unknown as Streams);
  print("Some words that fit.");
  expect([columns, String(stdout.read())]).toEqual([80, "Some words that fit.\n"]);
});

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
