// A page shows commands, and contains no program: what has steps, cases or loops is a file that is run and tested.
import { globSync } from "node:fs";
import { expect, it } from "vitest";
import { blocksOf } from "../helpers/pages.ts";

/** What makes a block a program: a control structure, a function, a here-document, a trap. */
const program = /^\s*(if|for|while|until|case|select|function|trap)\b|\b(then|do|done|fi|esac)\b|<<|^\w+\s*\(\)/m;

it.each(globSync(["*.md", "{docs,clients}/**/*.md"]))("%s shows commands, and no program", async (page) => {
  const blocks = await blocksOf(page, "sh|bash|shell");
  expect(blocks.filter((block) => program.test(block))).toEqual([]);
});
