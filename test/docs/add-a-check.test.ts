import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, type TestContext } from "vitest";
import { copyProject, runTests } from "../helpers/copy.ts";

// npm run test:docs: docs/add-a-check.md on trial. A copy of the project gets the recipe's example, and has to pass.
// Where a step is left out, every test that fails has to name the step.

/** For each file of the example: the lines that it has before an edit, and after it. */
const example = new Map<string, { before: string; after: string }[]>();
for (const ofFile of (await readFile("docs/add-a-check.diff", "utf8")).split(/^--- .*\n\+\+\+ b\//m).slice(1)) {
  const [file = "", ...edits] = ofFile.split(/\n@@ .* @@\n|\n$/);
  const without = (edit: string, mark: string) =>
    edit
      .split("\n")
      .flatMap((line) => (line.startsWith(mark) ? [] : [line.slice(1)]))
      .join("\n");
  const asTexts = edits.filter(Boolean).map((edit) => ({ before: without(edit, "+"), after: without(edit, "-") }));
  example.set(file, asTexts);
}
const edited = [...example.keys()];
/** Whether the example adds this file. */
const isNew = (file: string) => example.get(file)?.[0]?.before === "";
const written: Record<string, string> = { indexes: "npm run indexes", dashboard: "npm run dashboard" };
const steps = [...edited, ...Object.keys(written)];
const nameOf = (step: string) => written[step] ?? step;

/** The quick tests of all that is made from the checks. The slow tests use the same helpers. */
const tests = [
  ...["complete", "checks", "schemas", "truth", "roles", "indexes", "migrate"],
  ...["amounts", "evidence", "sample", "dashboard", "readme", "terminal", "exposition", "alerts"],
  ...["runbook"],
];
/** Both engines take up to a minute for all rules. */
const butEngines = "^(?!.*by the tool of)";

const run = promisify(execFile);

/** A copy of the project with the example, but for these steps. It is gone with the test. */
async function copyWithout(leftOut: string[], context: TestContext): Promise<string> {
  const folder = await copyProject(context);
  for (const [file, edits] of example) {
    if (leftOut.includes(file)) continue;
    let text = isNew(file) ? "\n" : await readFile(path.join(folder, file), "utf8");
    for (const { before, after } of edits) {
      const [start = "", end, ...more] = text.split(`${before}\n`);
      if (end === undefined || more.length > 0)
        throw new Error(`docs/add-a-check.diff is out of date: ${file}\n${before}`);
      text = `${start}${after}\n${end}`;
    }
    await writeFile(path.join(folder, file), text);
  }
  for (const script of Object.keys(written)) {
    // A script that lacks something fails, and leaves its file as it was.
    if (!leftOut.includes(script)) await run("npm", ["run", script], { cwd: folder }).catch(() => {});
  }
  return folder;
}

it("edits eight files at most, and adds a page of the runbook", () => {
  const changed = edited.filter((file) => !isNew(file));
  expect(changed.length).toBeGreaterThan(5);
  expect(changed.length).toBeLessThanOrEqual(8);
  expect(edited.filter(isNew)).toEqual([expect.stringMatching(/^docs\/runbook\/VezaLedger\w+\.md$/)]);
});

it("makes a check that passes every test", async (context) => {
  const folder = await copyWithout([], context);
  const { passed, failures } = await runTests(folder, tests, butEngines);
  expect(failures).toEqual([]);
  expect(passed).toBeGreaterThan(100);
  expect(await runTests(folder, ["alerts"], "by the tool of .Prometheus")).toEqual({ passed: 1, failures: [] });
});

it("is named step by step, when there is only the check", async (context) => {
  const folder = await copyWithout(
    steps.filter((step) => step !== "lib/checks.ts"),
    context,
  );
  const { failures } = await runTests(folder, tests, butEngines);
  expect(failures.length).toBeGreaterThan(steps.length);
  for (const failure of failures)
    expect(
      steps.map(nameOf).some((name) => failure.includes(name)),
      failure,
    ).toBe(true);
});

describe.concurrent("is incomplete, and every test that fails names it,", () => {
  it.for(steps)("without %s", async (step, context) => {
    const folder = await copyWithout([step], context);
    const { failures } = await runTests(folder, [step === "dashboard" ? "dashboard" : "complete"], butEngines);
    expect(failures).not.toEqual([]);
    for (const failure of failures) expect(failure).toContain(nameOf(step));
  });
});
