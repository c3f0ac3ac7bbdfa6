// npm run test:docs: a newcomer's walk through the README, command by command, in a copy of the project.
// test/aws/steps.test.ts walks the way of docs/deploy.md to AWS. `npm ci` has run already: .ci/run has it in a fresh copy.
import { readFile } from "node:fs/promises";
import { expect, it, onTestFinished } from "vitest";
import { copyProject } from "../helpers/copy.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { blocksOf } from "../helpers/pages.ts";
import { type Program, runProgram } from "../helpers/processes.ts";

/** The commands of a part of a page, as they are printed. */
const commandsOf = async (page: string, heading: string) =>
  (await blocksOf(page, "sh", heading)).flatMap((block) => block.replaceAll("\\\n", "").trimEnd().split("\n"));

it("leads to the page of the demo, and to counts on one's own ledger", async () => {
  const folder = await copyProject();
  const environment = { ...withoutSettings, CI: undefined, VITEST: undefined, NODE_ENV: undefined };
  const run = (command: string, more: Record<string, string> = {}) =>
    runProgram("bash", ["-c", `cd '${folder}' && ${command}`], { ...environment, ...more });
  const outputOf = async (program: Program) => {
    await program.exited;
    expect(program.child.exitCode, program.output()).toBe(0);
    return program.output();
  };

  const [start = "", ...more] = await commandsOf("README.md", "Try it");
  expect([start, ...more]).toEqual(["npm ci && npm start"]);
  const stack = run(`exec ${start.replace("npm ci && ", "")}`);
  onTestFinished(async () => {
    stack.child.kill("SIGINT");
    await stack.exited;
  });
  const page = await stack.printed(/^Page +(\S+)/m);
  const ledger = await stack.printed(/^Postgres +(\S+)/m);
  await stack.printed(/"message":"tick","stuck_orders":\d/);
  expect(await (await fetch(page)).text()).toContain("<html");

  const [first = ""] = /npm run doctor -- postgres:\/\/\S+/.exec(await readFile("README.md", "utf8")) ?? [];
  expect(await outputOf(run(first.replace(/postgres:.*/, `'${ledger}'`)))).toMatch(
    /^[!✓] stuck_orders +\d+, the oldest /m,
  );

  stack.child.kill("SIGINT");
  expect(await outputOf(stack)).toContain("Nothing is left running");
});
