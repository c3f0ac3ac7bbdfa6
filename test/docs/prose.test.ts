// What npm run lint finds in prose: long sentences and lines, words to avoid, and long subjects of commits.
import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { longSubjects, problemsIn } from "../../.ci/prose.ts";
import { needs } from "../helpers/needs.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** A sentence of `count` words, on lines of ten that begin with `prefix`. */
const sentence = (count: number, prefix = "") =>
  `${prefix}Word${" word".repeat(count - 1)}.`.replaceAll(/(( ?\w+){10}) /g, `$1\n${prefix}`);

it.each([
  ["a page", "page.md", `# Title\n\n${sentence(31)} ${sentence(30)}`, 3],
  ["a line comment", "a.ts", `const a = "\`";\n${sentence(31, "// ")}\n`, 2],
  ["a block comment", "a.cjs", `let a;\n/**\n${sentence(31, " * ")}\n */\n`, 3],
  ["a comment of a script", "run", `ls\n${sentence(31, "  # ")}\n`, 2],
])("finds a sentence of over 30 words in %s", async (_, file, source, line) => {
  const found = expect.stringMatching(`^${file}:${line}: a sentence of 31 words: "Word word`);
  expect(await problemsIn(file, source)).toEqual([found]);
});

it("finds a line of over 120 characters", async () => {
  expect(await problemsIn("a.ts", `\n"${"x".repeat(119)}";\n`)).toEqual(["a.ts:2: 122 characters in a line"]);
});

it.each([
  ["code, one word even as the first", "page.md", `${sentence(30)} \`npm run lint\` ${sentence(29)}`],
  ["a link to a file, likewise", "page.md", `${sentence(30)} [a/b.ts](a/b.ts) ${sentence(29)}`],
  ["a wide table", "page.md", `| ${"x".repeat(121)} |\n|---|\n`],
  ["code, which is no prose", "a.ts", `const text = "It is whoever it.";\n// Short.\n`],
  ["translated words in code", "a.ts", "// It is anew it.\n"],
])("lets pass: %s", async (_, file, source) => {
  expect(await problemsIn(file, source)).toEqual([]);
});

it.each(["whoever", "those that", "another one", "the one who", "that of", "anew", "mended", "falls away"])(
  "finds in a page the words %s",
  async (words) => {
    expect(await problemsIn("page.md", `It is ${words} it.`)).toHaveLength(1);
    expect(await problemsIn("page.md", `It is \`${words}\` it.`)).toEqual([]);
  },
);

const subjects = "finds a commit's subject of over 72 characters, and nothing to read where there is no repository";
it(subjects, await needs("git"), async () => {
  const folder = await newFolder();
  const git = (...args: string[]) =>
    execFileSync("git", ["-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.com", ...args]);
  expect(await longSubjects(folder)).toEqual([]);
  git("init", "--quiet");
  for (const length of [72, 73]) git("commit", "--quiet", "--allow-empty", "-m", `${"x".repeat(length)}\n\nwhy`);
  expect(await longSubjects(folder)).toEqual([expect.stringMatching(/^\w+ x{73}$/)]);
});
