import { readFile } from "node:fs/promises";

/** The code of a page in these languages (`sh|sql`), block by block, perhaps of one part. A list's indentation is gone. */
export async function blocksOf(page: string, languages: string, heading?: string): Promise<string[]> {
  const text = await readFile(page, "utf8");
  const [part = ""] = heading ? (text.split(`\n## ${heading}\n`)[1] ?? "").split("\n## ") : [text];
  const blocks = part.matchAll(new RegExp(`^( *)\`\`\`(?:${languages})\\n([\\s\\S]*?)^ *\`\`\``, "gm"));
  return [...blocks].map(([, indent = "", block = ""]) => block.replaceAll(new RegExp(`^${indent}`, "gm"), ""));
}
