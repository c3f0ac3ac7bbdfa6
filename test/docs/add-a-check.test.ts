// npm run test:docs: docs/add-a-check.md on trial: its example passes; without a step, types or a test name the step.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { copyProject, runTests } from "../helpers/copy.ts";

const example = path.resolve("docs/add-a-check.diff");
const [, ...changes] = (await readFile(example, "utf8")).split(/^diff --git a\/\S+ b\//m);
const nameIn = (change: string) => change.split("\n")[0] ?? "";
const edited = changes.map(nameIn);
const page = nameIn(changes.find((change) => change.includes("\nnew file mode")) ?? "");
const documents = edited.filter((file) => file.endsWith(".md") && file !== page);
const generating = "npm run generate";

/** Output of a program in a folder, also after a failure. */
async function outputOf(folder: string, file: string, args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(file, args, { cwd: folder }).catch((error) => error);
  return stdout + stderr;
}

/** A copy of the project with the example, but for one step: some files, or `npm run generate`. */
async function copyWithout(step: string, files = [step]): Promise<string> {
  const folder = await copyProject();
  const excluded = files.map((file) => `--exclude=${file}`);
  expect(await outputOf(folder, "git", ["apply", ...excluded, example])).toBe("");
  // A program that lacks something fails, and leaves its files as they were.
  if (step !== generating) await outputOf(folder, "npm", ["run", "generate"]);
  return folder;
}

it("edits four files of code, adds a page of the runbook, and has the rows of documents", () => {
  expect(edited.filter((file) => file.endsWith(".ts"))).toEqual([
    "config/words-of-checks.ts",
    "lib/counts/checks.ts",
    "lib/limits.ts",
    "test/helpers/models.ts",
  ]);
  expect(page).toMatch(/^docs\/runbook\/VezaLedger\w+\.md$/);
  expect(documents).toEqual([
    "README.md",
    "docs/reference.md",
    "docs/runbook/README.md",
    "docs/runbook/VezaLedgerCheckBlind.md",
  ]);
});

it("makes a check that passes the tests of documents, counts and rules", { timeout: 1_200_000 }, async () => {
  const folder = await copyWithout("nothing");
  expect(await outputOf(folder, "npm", ["run", "types"])).not.toContain("error");
  expect(await outputOf(folder, "npm", ["run", "lint"])).not.toMatch(/Found \d+ error/);
  const ofDocuments = ["complete", "generated", "limits", "names", "readme", "page"];
  const ofCounts = ["checks", "truth", "row-functions", "first-day", "roles", "exposition"];
  const tests = [...ofDocuments, ...ofCounts, "alerts", "dashboard", "runbook"];
  const { passed, failures } = await runTests(folder, tests, "");
  expect(failures).toEqual([]);
  expect(passed).toBeGreaterThan(200);
});

describe.concurrent("is incomplete, and types or a test name it,", () => {
  it.for([
    { step: "lib/counts/checks.ts", named: "config/words-of-checks.ts" },
    { step: "config/words-of-checks.ts", named: "config/words-of-checks.ts" },
    { step: "lib/limits.ts", named: "lib/limits.ts" },
    { step: "test/helpers/models.ts", named: "test/helpers/models.ts" },
    { step: page, named: page },
    { step: generating, named: generating },
    { step: "the documents", files: documents, named: documents },
  ])("without $step", async ({ step, files, named }) => {
    const folder = await copyWithout(step, files);
    const types = (await outputOf(folder, "npm", ["run", "types"]))
      .split("\n")
      .filter((line) => line.includes("error"));
    const { failures } = await runTests(folder, ["complete", "generated", "limits"], "");
    for (const each of [named].flat()) expect([...types, ...failures].join("\n")).toContain(each);
  });
});
