import "./commands/needs-node.js";
import path from "node:path";
import { defineConfig } from "vitest/config";

/** Tests that need no server and no program: `npx vitest run --project unit` takes seconds. */
const unit = [
  "complete",
  "dashboard",
  "deadline",
  "events",
  "generated",
  "log",
  "needs-node",
  "ports",
  "prose",
  "readme",
  "rights",
  "schema",
  "settings",
  "signature",
  "terminal",
  "unsigned",
  "workflow",
].map((name) => `test/*/${name}.test.ts`);

/** The docs, followed step by step in copies of the project: `npm run test:docs`. */
const docs = ["test/docs/add-a-check.test.ts", "test/docs/walk.test.ts"];

/** Plays hours in seconds, on a real Prometheus: it has the machine to itself. */
const alone = "test/alerts/notifications.test.ts";

export default defineConfig({
  test: {
    // Most tests wait for something, so that two cores have room for four files at a time.
    maxWorkers: 4,
    // Faults last until the service's own limits end them, after 25 s at most. The rest is for a machine that does
    // other things at the same time.
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // Tests start the project's programs hundreds of times: Node keeps what it has compiled, beside other downloads.
    env: { NODE_COMPILE_CACHE: path.join(import.meta.dirname, ".cache/node-compiled") },
    // A CI machine may stall for longer than a limit of the service; a mistake fails three times.
    retry: process.env.CI ? 2 : 0,
    // What is waited for takes milliseconds, and longer on a loaded machine.
    expect: { poll: { timeout: 15_000 } },
    coverage: {
      include: ["lib/**", "handlers/**"],
      reporter: ["text", "text-summary"],
      thresholds: { lines: 98, functions: 98, statements: 98 },
    },
    projects: [
      { extends: true, test: { name: "unit", include: unit } },
      {
        extends: true,
        test: {
          name: "real",
          include: ["test/**/*.test.ts"],
          exclude: [...unit, ...docs, alone],
          globalSetup: "test/setup.ts",
        },
      },
      { extends: true, test: { name: "alone", include: [alone], globalSetup: "test/setup.ts" } },
      { extends: true, test: { name: "docs", include: docs, maxConcurrency: 3, testTimeout: 300_000 } },
    ],
  },
});
