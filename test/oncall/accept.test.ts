import { expect, it } from "vitest";
import { checkNames } from "../../commands/oncall/checks.ts";
import { failed, stageWith } from "../helpers/on-call.ts";

it("asks of which check a command is", async () => {
  expect(await failed(stageWith({}), "rows")).toContain("say of which check. The checks are: ");
});

it.each(["rows stuk_orders", "rows 'x; drop table y'", "accept stuk_orders 1 day"])(
  "names the checks where %s names another",
  async (command) => {
    expect(await failed(stageWith({}), command)).toContain(`The checks are: ${checkNames.join(" ")}`);
  },
);

it.each([
  "accept stuck_orders 8",
  "accept stuck_orders 5 dogs",
  "accept stuck_orders",
  "accept_backlog stuck_orders",
  "accept stuck_orders '1 day; x'",
])("asks for a span before %s does anything", async (command) => {
  expect(await failed(stageWith({}), command)).toContain("say for how long");
});
