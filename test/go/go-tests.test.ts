// The Go client's tests that need a PostgreSQL, on both drivers. go-module.test.ts has those that do not.
import { beforeAll, describe, expect, inject, it } from "vitest";
import { databaseForTest } from "../helpers/database.ts";
import { built, run, testFolder, withoutModules } from "../helpers/go.ts";
import { newSecret, startReceiver } from "../helpers/receiver.ts";

/** A first build compiles Go's own library as well. Go's own limit is shorter, and names the test that hangs. */
const timeout = 300_000;

describe("the Go client's tests that need a PostgreSQL", { timeout, ...withoutModules }, () => {
  let program: string;
  const runTests = (args: string[], environment: Record<string, string>) =>
    run(program, ["-test.timeout=2m", "-test.v", ...args], environment, testFolder);

  beforeAll(async () => {
    program = await built("tests");
  }, timeout);

  it("passes its tests on a real Postgres, with either driver", async () => {
    const { receiverUrl } = await databaseForTest();
    const WEBHOOK_SECRET = newSecret();
    const { url } = await startReceiver({ DATABASE_URL: receiverUrl, WEBHOOK_SECRET, STAGE: "go_tests" });
    const environment = { RECEIVER_URL: url, WEBHOOK_SECRET };
    const DATABASE_URL = `${inject("adminUrl")}?sslmode=disable`;
    // Gorm has its own way to each driver; operators and bodies are the same with both.
    const without = "-test.skip=^(TestGorm|TestTheREADME|TestTheReceiver|TestNoFunction)";
    const [withPgx, withPq] = await Promise.all([
      runTests([], { ...environment, DATABASE_URL, DRIVER: "pgx" }),
      runTests([without], { ...environment, DATABASE_URL, DRIVER: "postgres" }),
    ]);
    expect(withPgx).toMatch(/^--- PASS: TestTheREADME/m);
    expect(withPgx).toMatch(/^--- PASS: TestTheReceiver/m);
    for (const output of [withPgx, withPq]) {
      expect(output).toMatch(/^PASS$/m);
      expect(output).not.toMatch(/^--- SKIP/m);
    }
  });
});
