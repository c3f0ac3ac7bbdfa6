// The Go client by itself, and the code of its README. go-tests.test.ts and go-client.test.ts run it with servers.
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { built, clientFolder, race, run, withoutGo, withoutModules } from "../helpers/go.ts";
import { blocksOf } from "../helpers/pages.ts";
import { projectFolder } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const modulePath = "github.com/veza/veza-ledger-metrics/clients/go";

/** A first build compiles Go's own library as well. */
const timeout = 300_000;
if (!withoutGo.skip && race.length === 0) {
  process.stdout.write("go-module: without the race detector, which needs Debian's gcc and libc6-dev\n");
}

describe("the Go client", { timeout, ...withoutGo }, () => {
  it("depends on nothing", async () => {
    expect(await run("go", ["list", "-m", "all"], { GOWORK: "off" })).toBe(`${modulePath}\n`);
  });

  it("passes its tests by itself", async () => {
    expect(await run("go", ["test", "-count=1", "-timeout=2m", ...race, "./..."], { GOWORK: "off" })).toMatch(/^ok/);
  });

  it("has in its README only Go that is in the example or in a test", async () => {
    const oneLine = (text: string) => text.replaceAll(/\s+/g, " ").trim();
    const codeOf = async (file: string) => oneLine(await readFile(path.join(clientFolder, file), "utf8"));
    const files = ["example/main.go", "ledgermetrics/example_test.go", "test/readme_test.go"];
    const [example = "", shown = "", tested = ""] = await Promise.all(files.map(codeOf));
    const blocks = await blocksOf("clients/go/README.md", "go");
    expect(blocks.length).toBeGreaterThan(2);
    for (const block of blocks.map(oneLine)) {
      expect(example + shown).toContain(block);
      if (block.startsWith("func")) expect(tested, "and in a test that runs it").toContain(block);
    }
  });

  it("is had from a clone as its README says, without asking anybody", async () => {
    const folder = await newFolder();
    const mine = path.join(folder, "reconciler");
    await symlink(projectFolder, path.join(folder, "veza-ledger-metrics"));
    const [fromClone = "", , makeTable = ""] = await blocksOf("clients/go/README.md", "sh", "Install");
    await mkdir(mine);
    await writeFile(path.join(mine, "go.mod"), "module reconciler\ngo 1.22\n");
    await writeFile(
      path.join(mine, "main.go"),
      `package main
import "${modulePath}/ledgermetrics"
func main() { ledgermetrics.OrphanRefund() }`,
    );
    const alone = { GOWORK: "off", GOPROXY: "off", GOFLAGS: "" };
    await run("sh", ["-ec", fromClone], alone, mine);
    await run("go", ["build", ...race, "./..."], alone, mine);
    // Where its table is found, also in a module with a folder `vendor`.
    const [, find = ""] = /\$\((go list [^)]+)\)/.exec(makeTable) ?? [];
    await run("go", ["mod", "vendor"], alone, mine);
    expect(await run("sh", ["-ec", find], alone, mine)).toMatch(/clients\/go\n$/);
  });
});

describe("what uses the Go client", { timeout, ...withoutModules }, () => {
  it("repairs nothing in its example where a receiver elsewhere would count it", async () => {
    const elsewhere = {
      RECEIVER_URL: "https://receiver.example/",
      DEMO_DATABASE_URL: "postgres://demo@127.0.0.1:4/demo",
    };
    await expect(run(await built("example"), [], elsewhere)).rejects.toThrow("RECEIVER_URL is not of this machine");
  });
});
