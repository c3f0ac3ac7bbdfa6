// The first two commands of a newcomer whose Node is 22, with the npm that it came with.
import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { copyAsCloned } from "../helpers/copy.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { skippedBecause } from "../helpers/needs.ts";
import { runProgram } from "../helpers/processes.ts";

/** npm below 11.7 makes no link to a Node that comes as packages of two platforms. */
const npm = "npm@10.9.4";
const node = `node-${process.platform}-${process.arch}@22`;

const unlessLinux = skippedBecause(process.platform !== "linux" && "only on Linux does npm ci bring Node 24");
it("npm ci && npm start, npm ci && npm test", unlessLinux, async () => {
  // All packages take 1 GB: not in memory, where the other folders of tests are.
  const own = await mkdtemp("/var/tmp/veza-");
  onTestFinished(() => rm(own, { recursive: true, force: true }));
  const environment = {
    ...withoutSettings,
    CI: undefined,
    VITEST: undefined,
    NODE_ENV: undefined,
    TEST_FOLDER: undefined,
    PATH: [path.join(own, "tools/node_modules/.bin"), process.env.PATH].join(":"),
  };
  const run = (folder: string, command: string) =>
    runProgram("bash", ["-c", `cd '${folder}' && ${command}`], environment);
  const outputOf = async (folder: string, command: string) => {
    const { exitCode, output } = await run(folder, command).exited;
    expect(exitCode, output).toBe(0);
    return output;
  };
  await outputOf(own, `npm install --prefix tools ${npm} ${node}`);

  const clone = path.join(own, "clone");
  await copyAsCloned(clone);
  expect(await outputOf(clone, "node --version && npm --version && npm ci")).toMatch(/^v22\.\S+\n10\.9\.4\n/);
  const stack = run(clone, "exec npm start");
  await stack.printed(/"message":"tick","stuck_orders":\d/);
  stack.child.kill("SIGINT");
  const { exitCode, output } = await stack.exited;
  expect([exitCode, output]).toEqual([0, expect.stringContaining("Nothing is left running")]);
  expect(await outputOf(clone, "npm test -- test/totals/exposition.test.ts")).toMatch(/Tests .*2 passed/);
});
