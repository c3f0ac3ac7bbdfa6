import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { projectFolder } from "./processes.ts";

const page = path.join(projectFolder, "docs/local.md");

/**
 * Writes into the table of docs/local.md that the tests passed today with these versions of programs. Rows of other
 * versions stay.
 */
export async function recordTried(versions: Record<string, string>): Promise<void> {
  const text = await readFile(page, "utf8");
  const [whole = "", head = "", old = ""] =
    /(<!-- tried -->\n\n\| program .*\n\|.*\n)([\s\S]*?)(?=\n<!-- tried: end -->)/.exec(text) ?? [];
  if (!whole) throw new Error(`${page} has no table of versions`);
  const today = new Date().toISOString().slice(0, 10);
  const startOf = ([name, version]: [string, string]) => `| ${name} | ${version} |`;
  const now = Object.entries(versions);
  const others = old.split("\n").filter((row) => row && !now.some((entry) => row.startsWith(startOf(entry))));
  const rows = [...others, ...now.map((entry) => `${startOf(entry)} ${today} |`)];
  const inOrder = new Intl.Collator("en", { numeric: true });
  await writeFile(page, text.replace(whole, `${head}${rows.sort(inOrder.compare).join("\n")}\n`));
}
