import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/*.test.ts"],
    globalSetup: "test/helpers/setup.ts",
    // Faults are waited for until the service's own limits end them; none of those is over 25 s.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // What is waited for takes milliseconds, and longer on a loaded machine.
    expect: { poll: { timeout: 5_000 } },
  },
});
