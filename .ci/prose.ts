import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";
import { TextlintKernel, type TextlintPluginCreator, type TextlintRuleModule } from "@textlint/kernel";
import jsTokens from "js-tokens";

// require(), because Node and Vitest disagree on the default export of this package in CommonJS.
const markdown: TextlintPluginCreator = createRequire(import.meta.url)("@textlint/textlint-plugin-markdown").default;

// npm run lint: checks pages, the comments of code and subjects of commits by the rules in CONTRIBUTING.md.
const checked = [
  ...["*.md", "{docs,docs/runbook,clients/go}/*.md", "serverless.yml"],
  ...[
    "{handlers,lib,deploy,.ci}/*",
    "{local,bench}/*.ts",
    "commands/**/*.{ts,js}",
    "test/**/*.ts",
    "config/**/*.{yml,ts}",
  ],
];

const maxLineLength = 120;
const maxWords = 30;
const maxSubjectLength = 72;
/** Subjects of earlier commits were written without that limit. */
const limitedSince = "2026-11-26T23:36:00Z";

/** Words that stand for a noun, and what to write instead. */
const habits: [RegExp, string][] = [
  [/\b(who|whom|which)ever\b/gi, "name the person or the thing"],
  [/\bthose (that|which|who|of|in|with|from)\b/gi, "name the things"],
  [
    /\b(that|this|these|those|another|other|newer|older|latest) ones?\b|\bones? (that|which|who)\b/gi,
    "repeat the noun",
  ],
  [/\b(that|those|the ones?) of\b|\bof which\b/gi, "repeat the noun"],
  [/\b(is|are|was|were) none\b/gi, "write: is no …"],
];

/** Words of another language's syntax, which pages have instead of these. */
const foreign: [RegExp, string][] = [
  [/\banew\b/gi, "write: again"],
  [/\bmend(s|ed|ing)?\b/gi, "write: fix or repair"],
  [/\bfalls? away\b/gi, "say what is not needed"],
  [/\bbeside\b/gi, "write: next to"],
];

/** A node of textlint's syntax tree, as far as it is read here. */
interface Node {
  type: string;
  value?: string;
  children?: Node[];
}

/** A paragraph as text. Code counts as one word, and so does a link to a file. */
function textOf(node: Node): string {
  const text = node.children ? node.children.map(textOf).join("") : (node.value ?? "");
  return node.type === "Code" || (node.type === "Link" && !text.includes(" ")) ? "X" : text;
}

const style: TextlintRuleModule = ({ Syntax, RuleError, report, getFilePath }) => {
  const listed = getFilePath()?.endsWith(".md") ? [...habits, ...foreign] : habits;
  const sentences = new Intl.Segmenter("en", { granularity: "sentence" });
  const check = (node: Parameters<typeof report>[0]) => {
    const text = textOf(node as Node).replaceAll(/\s+/g, " ");
    for (const { segment } of sentences.segment(text)) {
      const words = segment.trim().split(" ").length;
      if (words > maxWords) report(node, new RuleError(`a sentence of ${words} words: "${segment.slice(0, 60)}…"`));
    }
    for (const [habit, advice] of listed) {
      for (const [found] of text.matchAll(habit)) report(node, new RuleError(`"${found}": ${advice}`));
    }
  };
  return { [Syntax.Paragraph]: check, [Syntax.TableCell]: check };
};

/** The comments of a program as Markdown, on the lines that they have there. YAML and shell scripts have `#`. */
function commentsOf(file: string, source: string): string {
  if (!/\.[cm]?[jt]s$/.test(file)) return source.replaceAll(/^(?! *# ).*|^ *# /gm, "");
  let text = "";
  for (const { type, value } of jsTokens(source)) {
    if (type === "SingleLineComment") text += value.replace(/^\/\/ ?/, "");
    else if (type === "MultiLineComment") text += value.replaceAll(/^\s*\* ?|^\/\*\*? ?|\*\/$/gm, "");
    else text += value.replaceAll(/.+/g, "");
  }
  return text;
}

/** What is wrong with the prose of a file, a line each, as `file:line: what`. */
export async function problemsIn(file: string, source: string): Promise<string[]> {
  const tooLong = source.split("\n").flatMap((line, index) => {
    const isTable = file.endsWith(".md") && line.startsWith("|");
    return line.length > maxLineLength && !isTable ? [`${file}:${index + 1}: ${line.length} characters in a line`] : [];
  });
  const { messages } = await new TextlintKernel().lintText(file.endsWith(".md") ? source : commentsOf(file, source), {
    ext: ".md",
    filePath: file,
    plugins: [{ pluginId: "markdown", plugin: markdown }],
    rules: [{ ruleId: "style", rule: style }],
  });
  return [...tooLong, ...messages.map(({ line, message }) => `${file}:${line}: ${message}`)];
}

/** Lines of hash and subject for the latest commits whose subject is over 72 characters; none without a repository. */
export async function longSubjects(folder: string): Promise<string[]> {
  const log = ["-C", folder, "log", "--max-count=50", `--since=${limitedSince}`, "--format=%h %s"];
  const { stdout } = await promisify(execFile)("git", log).catch(() => ({ stdout: "" }));
  return stdout.split("\n").filter((line) => line.slice(line.indexOf(" ") + 1).length > maxSubjectLength);
}

/** The lines of SQL that are not ASCII, a line each: a database in LATIN1 takes no other characters. */
export function notAscii(file: string, source: string): string[] {
  return source
    .split("\n")
    .flatMap((line, index) => (/^[\t -~]*$/.test(line) ? [] : [`${file}:${index + 1}: not ASCII`]));
}

if (import.meta.main) {
  const cwd = path.join(import.meta.dirname, "..");
  for (const file of globSync(checked, { cwd }).sort()) {
    for (const problem of await problemsIn(file, await readFile(path.join(cwd, file), "utf8"))) {
      console.error(problem);
      process.exitCode = 1;
    }
  }
  for (const file of globSync("config/postgres/*", { cwd })) {
    for (const problem of notAscii(file, await readFile(path.join(cwd, file), "utf8"))) {
      console.error(problem);
      process.exitCode = 1;
    }
  }
  for (const subject of await longSubjects(cwd)) {
    console.error(`commit ${subject}: over ${maxSubjectLength} characters`);
    process.exitCode = 1;
  }
}
