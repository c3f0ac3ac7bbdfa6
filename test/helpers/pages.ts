import { readFile } from "node:fs/promises";
import { expect } from "vitest";

/** The code of a page in these languages (`sh|sql`), block by block, perhaps of one part. A list's indentation is gone. */
export async function blocksOf(page: string, languages: string, heading?: string): Promise<string[]> {
  const text = await readFile(page, "utf8");
  const [part = ""] = heading ? (text.split(`\n## ${heading}\n`)[1] ?? "").split("\n## ") : [text];
  const blocks = part.matchAll(new RegExp(`^( *)\`\`\`(?:${languages})\\n([\\s\\S]*?)^ *\`\`\``, "gm"));
  return [...blocks].map(([, indent = "", block = ""]) => block.replaceAll(new RegExp(`^${indent}`, "gm"), ""));
}

/** A text without its line breaks and indentation. */
export const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");

/**
 * Expects each file to have its text, wherever its lines break. The message names the files that lack it, with the text
 * to paste there.
 */
export async function expectIn(places: [file: string, text: string][]): Promise<void> {
  const read = await Promise.all(
    places.map(async ([file, text]) => [file, text, await readFile(file, "utf8").catch(() => "")] as const),
  );
  const lacking = read.filter(([, text, is]) => !oneLine(is).includes(oneLine(text)));
  const lines = lacking.map(([file, text]) => `${file} lacks:${text.includes("\n") ? "\n" : " "}${text}`);
  expect(lines, `${lines.join("\n")}\n`).toEqual([]);
}
