import { expect, it } from "vitest";
import { commands, complete, helpOf } from "../../commands/oncall/commands.ts";
import { done, stageWith } from "../helpers/on-call.ts";

it("completes commands, checks, and words", () => {
  expect(complete("row")[0]).toEqual(["rows "]);
  expect(complete("rows stuck_o")[0]).toEqual(["stuck_orders "]);
  expect(complete("logs ")[0]).toEqual(["sampler ", "receiver "]);
  expect(complete("accept stuck_orders ")[0]).toEqual([]);
  expect(complete("help why_l")[0]).toEqual(["why_lost "]);
});

it("explains each command at 80 columns, and no other", async () => {
  const all = helpOf();
  for (const { calls } of commands) expect(all).toContain(calls.join(", "));
  expect(all.filter((line) => line.length > 80)).toEqual([]);
  expect(() => helpOf("nothing")).toThrow("There is no command nothing");
  for (const words of ["help", "--help", "-h"]) expect(await done(stageWith({}), words)).toBe(`${all.join("\n")}\n`);
});

it("groups what is for the day alone, last", () => {
  const all = helpOf();
  const byDay = all.slice(all.indexOf("By day, corrections:")).filter((line) => /^[a-z]/.test(line));
  expect(byDay.map((line) => line.split(" ")[0])).toEqual([
    "takeback",
    "drop_group",
    "resend",
    "retire_phase",
    "retire",
  ]);
});
