// The Go client's own tests, by itself and on both drivers, and the code of its README.
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { databaseForTest } from "../helpers/database.ts";
import { clientFolder, exampleFolder, race, run, testFolder, withoutGo, withoutModules } from "../helpers/go.ts";
import { blocksOf } from "../helpers/pages.ts";
import { newSecret, startReceiver } from "../helpers/receiver.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const modulePath = "github.com/veza/veza-ledger-metrics/clients/go";

/** A first build compiles Go's own library as well. */
const timeout = 300_000;
if (!withoutGo.skip && race.length === 0) {
  process.stdout.write("go-tests: without the race detector, which needs Debian's gcc and libc6-dev\n");
}

describe("the Go client", { timeout, ...withoutGo }, () => {
  it("depends on nothing", async () => {
    expect(await run("go", ["list", "-m", "all"], { GOWORK: "off" })).toBe(`${modulePath}\n`);
  });

  it("passes go vet and its tests, by itself", async () => {
    await run("go", ["vet", "./..."], { GOWORK: "off" });
    expect(await run("go", ["test", "-count=1", ...race, "./..."], { GOWORK: "off" })).toMatch(/^ok/);
  });

  it("takes nothing for a transaction but a transaction: the rest does not compile", async () => {
    const wrong = await newFolder();
    const code = `package wrong
import ("context"; "database/sql"; "${modulePath}/ledgermetrics")
func repair(ctx context.Context, tx *sql.DB) error { return ledgermetrics.Enqueue(ctx, tx, "id") }`;
    await writeFile(path.join(wrong, "wrong.go"), code);
    const replace = `replace ${modulePath} => ${JSON.stringify(clientFolder)}`;
    await writeFile(path.join(wrong, "go.mod"), `module wrong\ngo 1.22\nrequire ${modulePath} v0.2.0\n${replace}\n`);
    const refused = await run("go", ["build", "./..."], { GOWORK: "off" }, wrong).catch(
      (error: Error) => error.message,
    );
    expect(refused).toContain("*sql.DB does not implement");
  });

  it("has in its README only Go that is in the example or in a test", async () => {
    const oneLine = (text: string) => text.replaceAll(/\s+/g, " ").trim();
    const files = ["example/main.go", "test/example_test.go"].map((file) =>
      readFile(path.join(clientFolder, file), "utf8"),
    );
    const code = oneLine((await Promise.all(files)).join("\n"));
    const blocks = await blocksOf("clients/go/README.md", "go");
    expect(blocks.length).toBeGreaterThan(2);
    for (const block of blocks) expect(code).toContain(oneLine(block));
  });
});

describe("its tests that need a PostgreSQL", { timeout, ...withoutModules }, () => {
  let program: string;
  const runTests = (args: string[], environment: Record<string, string>) =>
    run(program, ["-test.timeout=5m", "-test.v", ...args], environment, testFolder);

  beforeAll(async () => {
    program = path.join(await newFolder(), "tests");
    await run("go", ["test", "-c", ...race, "-o", program, "."], {}, testFolder);
  }, timeout);

  it("passes its tests on a real Postgres, with either driver", async () => {
    const { receiverUrl } = await databaseForTest();
    const WEBHOOK_SECRET = newSecret();
    const { url } = await startReceiver({ DATABASE_URL: receiverUrl, WEBHOOK_SECRET, STAGE: "go_tests" });
    const environment = { RECEIVER_URL: url, WEBHOOK_SECRET };
    const DATABASE_URL = `${inject("adminUrl")}?sslmode=disable`;
    const drivers = ["postgres", "pgx"];
    const printed = await Promise.all(
      drivers.map((DRIVER) => runTests(["-test.skip=^TestLoad"], { ...environment, DATABASE_URL, DRIVER })),
    );
    for (const output of printed) {
      expect(output).toMatch(/^PASS$/m);
      expect(output).not.toMatch(/^--- SKIP/m);
      expect(output).toMatch(/^--- PASS: ExampleEnqueue/m);
      expect(output).toMatch(/^--- PASS: TestTheReceiver/m);
    }
  });

  it("has tests that say what they need", async () => {
    expect(await runTests([], { DATABASE_URL: "" })).toMatch(/All is skipped\. .*PostgreSQL.*\n.*go test -race/);
  });

  it("passes go vet, and so does its example", async () => {
    await run("go", ["vet", "./..."], {}, testFolder);
    await run("go", ["vet", "./..."], {}, exampleFolder);
  });
});
