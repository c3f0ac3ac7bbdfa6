// npm run test:docs: docs/add-a-check.md on trial: its example passes; without a step, types or a test name the step.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { copyProject, runTests } from "../helpers/copy.ts";

const example = path.resolve("docs/add-a-check.diff");
const [, ...changes] = (await readFile(example, "utf8")).split(/^diff --git a\/\S+ b\//m);
const nameIn = (change: string) => change.split("\n")[0] ?? "";
const edited = changes.map(nameIn);
const page = nameIn(changes.find((change) => change.includes("\nnew file mode")) ?? "");
const code = edited.filter((file) => file.endsWith(".ts"));
const documents = edited.filter((file) => file.endsWith(".md") && file !== page);

/** Output of a program in a folder, also after a failure. */
async function outputOf(folder: string, file: string, args: string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(file, args, { cwd: folder }).catch((error) => error);
  return stdout + stderr;
}

/** A copy of the project with the example, but without its changes of these files. */
async function copyWithout(files: string[]): Promise<string> {
  const folder = await copyProject();
  const excluded = files.map((file) => `--exclude=${file}`);
  expect(await outputOf(folder, "git", ["apply", ...excluded, example])).toBe("");
  return folder;
}

it("edits three files of code, adds a page of the runbook, and has the rows of documents", () => {
  expect(code).toEqual(["config/words-of-checks.ts", "lib/counts/checks.ts", "test/helpers/models.ts"]);
  expect(page).toMatch(/^docs\/runbook\/VezaLedger\w+\.md$/);
  expect(documents).toEqual(["README.md", "docs/reference.md"]);
});

it("makes a check that passes lint, and every test of what imports it", { timeout: 1_200_000 }, async () => {
  const folder = await copyWithout([]);
  await outputOf(folder, "npm", ["run", "generate"]);
  expect(await outputOf(folder, "npm", ["run", "types"])).not.toContain("error");
  expect(await outputOf(folder, "npm", ["run", "lint"])).not.toMatch(/Found \d+ error/);
  const { passed, failures } = await runTests(folder, ["related", ...code, "--project", "!docs"]);
  expect(failures.join("\n\n")).toBe("");
  expect(passed).toBeGreaterThan(500);
});

it("is incomplete without its words and its model, and types name both", async () => {
  const missing = ["config/words-of-checks.ts", "test/helpers/models.ts"];
  const folder = await copyWithout(missing);
  const types = await outputOf(folder, "npm", ["run", "types"]);
  for (const file of missing) expect(types).toContain(`${file}(`);
});

it("is incomplete without its page, its rows and what is generated, and unit tests name all of them", async () => {
  const missing = [page, ...documents];
  const folder = await copyWithout(missing);
  const { failures } = await runTests(folder, ["/complete.test.ts", "/generated.test.ts"]);
  for (const each of [...missing, "npm run generate"]) expect(failures.join("\n")).toContain(each);
});
