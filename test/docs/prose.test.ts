import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { longSubjects, problemsIn } from "../../.ci/prose.ts";

/** A sentence of `count` words, on lines of ten. */
const sentence = (count: number) => `Word${" word".repeat(count - 1)}.`.replaceAll(/(( ?\w+){10}) /g, "$1\n");

it("finds a sentence of over 30 words in a page", async () => {
  expect(await problemsIn("page.md", `${sentence(30)} ${sentence(30)}`)).toEqual([]);
  expect(await problemsIn("page.md", `# Title\n\n${sentence(31)} ${sentence(2)}`)).toEqual([
    expect.stringMatching(/^page\.md:3: a sentence of 31 words: "Word word/),
  ]);
});

it("counts code, and a link to a file, as one word, even where they begin a sentence", async () => {
  const page = `${sentence(30)} \`npm run lint\` ${sentence(29)} [a/b.ts](a/b.ts) ${sentence(29)}`;
  expect(await problemsIn("page.md", page)).toEqual([]);
});

it.each([
  ["a line comment", "a.ts", `const a = "\`";\n// ${sentence(31).replaceAll("\n", "\n// ")}\n`],
  ["a block comment", "a.cjs", `let a;\n/**\n * ${sentence(31).replaceAll("\n", "\n * ")}\n */\n`],
  ["a comment of a script", "run", `ls\n  # ${sentence(31).replaceAll("\n", "\n  # ")}\n`],
])("finds it in %s", async (_, file, source) => {
  const [problem, ...more] = await problemsIn(file, source);
  expect(problem).toMatch(/^\S+:[23]: a sentence of 31 words/);
  expect(more).toEqual([]);
});

it("does not read code as prose", async () => {
  expect(await problemsIn("a.ts", `const text = "It is whoever it.";\n// Short.\n`)).toEqual([]);
});

it("finds a line of over 120 characters, except in a table", async () => {
  const long = "x".repeat(121);
  expect(await problemsIn("a.ts", `const a = 1;\n"${long}";\n`)).toEqual(["a.ts:2: 124 characters in a line"]);
  expect(await problemsIn("page.md", `| ${long} |\n|---|\n\n${long.slice(1)}\n`)).toEqual([]);
});

it("finds translated words in pages, and leaves them to code", async () => {
  for (const word of ["anew", "mended", "falls away"]) {
    expect(await problemsIn("page.md", `It is ${word} it.`), word).toHaveLength(1);
    expect(await problemsIn("a.ts", `// It is ${word} it.\n`), word).toEqual([]);
  }
});

it.each(["whoever", "those that", "another one", "the one who", "that of"])("finds the habit %s", async (habit) => {
  expect(await problemsIn("page.md", `It is ${habit} it.`)).toHaveLength(1);
  expect(await problemsIn("page.md", `It is \`${habit}\` it.`)).toEqual([]);
});

it("finds a commit's subject of over 72 characters, and nothing to read where there is no repository", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-commits-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  expect(await longSubjects(folder)).toEqual([]);
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.com", ...args]);
  git("init", "--quiet");
  expect(await longSubjects(folder)).toEqual([]);
  for (const length of [72, 73]) git("commit", "--quiet", "--allow-empty", "-m", `${"x".repeat(length)}\n\nwhy`);
  expect(await longSubjects(folder)).toEqual([expect.stringMatching(/^\w+ x{73}$/)]);
});
