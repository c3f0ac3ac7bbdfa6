import "./commands/needs-node.js";
import { globSync, readFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import path from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { Skipped } from "./test/helpers/skipped.ts";
import { useTemporaryFolder } from "./test/helpers/temporary-folder.ts";

/** Tests that need no server and no program: `npx vitest run --project unit` takes seconds. */
const unit = [
  "command",
  "commands",
  "complete",
  "dashboard",
  "deadline",
  "deployer",
  "events",
  "generated",
  "interval",
  "limits",
  "links",
  "log",
  "names",
  "needs-node",
  "params",
  "ports",
  "readme",
  "rule-times",
  "schema",
  "settings",
  "signature",
  "workflow",
  "yaml",
].map((name) => `test/*/${name}.test.ts`);
unit.push("test/oncall/*.test.ts", "test/setup/host/*.test.ts");

/** The docs, followed step by step in copies of the project: `npm run test:docs`. */
const docs = ["add-a-check", "first-commands", "release"].map((name) => `test/docs/${name}.test.ts`);

/** Tests that load a handler: its module keeps connections and secrets, so each of these has a process of its own. */
const handlers = globSync("test/*/*.test.ts", { cwd: import.meta.dirname }).filter((file) =>
  readFileSync(path.join(import.meta.dirname, file), "utf8").includes('"../../handlers/'),
);

/**
 * What takes longest: Go, which compiles first, what waits by the clock, then the rest. A fresh clone has no last run
 * to order them by.
 */
const longest = [
  "go/go-tests",
  "go/go-client",
  "go/go-module",
  "alerts/alerts",
  "alerts/prometheus",
  "aws/lambda",
  "docs/setup-versions",
  "docs/setup-broken-off",
  "chaos/chaos",
  "aws/steps",
  "alerts/runbook",
  "local/start",
];
/** Starts these files first, then those that took longest in the last run. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const first = longest.flatMap((name) => sorted.filter(({ moduleId }) => moduleId.endsWith(`/${name}.test.ts`)));
    return [...new Set([...first, ...sorted])];
  }
}

useTemporaryFolder();

export default defineConfig({
  test: {
    reporters: ["default", ...(process.env.GITHUB_ACTIONS ? ["github-actions"] : []), new Skipped()],
    // Most tests wait for something, so that a core has room for four files at a time; on a very busy machine, two.
    // Limits of the service, as of a statement, would end what an overloaded machine holds up. Nothing is tried again:
    // a test repeats only what it arranges, as a dial, and waits for a state.
    maxWorkers: availableParallelism() * (Number(loadavg()[0]) > 3 * availableParallelism() ? 2 : 4),
    sequence: { sequencer: LongestFirst },
    // Faults last until the service's own limits end them, after 25 s at most. The rest is for a machine that does
    // other things at the same time: these time-outs prove nothing.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    env: {
      // Tests start the project's programs many times: Node keeps what it has compiled, next to other downloads.
      NODE_COMPILE_CACHE: path.join(import.meta.dirname, ".cache/node-compiled"),
      // Serverless keeps the compiled schema of serverless.yml there, which is half of its work.
      SLS_SCHEMA_CACHE_BASE_DIR: path.join(import.meta.dirname, ".cache"),
      // Programs in Go collect garbage less often: the rules' unit tests take a quarter less CPU time.
      GOGC: "400",
    },
    // What is waited for takes milliseconds, and longer on a loaded machine.
    expect: { poll: { timeout: 60_000 } },
    projects: [
      { extends: true, test: { name: "unit", include: unit, isolate: false } },
      {
        extends: true,
        test: {
          name: "real",
          include: ["test/**/*.test.ts"],
          exclude: [...unit, ...docs, ...handlers],
          globalSetup: "test/setup.ts",
          setupFiles: "test/helpers/own-environment.ts",
          isolate: false,
        },
      },
      { extends: true, test: { name: "handlers", include: handlers, globalSetup: "test/setup.ts" } },
      { extends: true, test: { name: "docs", include: docs, maxConcurrency: 3, testTimeout: 300_000 } },
    ],
  },
});
