import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { writableCache } from "../../local/find-program.ts";

/**
 * The oldest Node that docs/people-on-call.md promises to run on: from npm, into the cache of programs. Resolves to its
 * file. Throws where npm cannot get it.
 */
export async function oldestNode(): Promise<string> {
  const [, oldest] = /by Node, ([\d.]+) or later/.exec(await readFile("docs/people-on-call.md", "utf8")) ?? [];
  const name = `node-${process.platform}-${process.arch}`;
  const folder = path.join(await writableCache(), `node-${oldest}`);
  const file = path.join(folder, "node_modules", name, "bin/node");
  if (existsSync(file)) return file;
  await mkdir(folder, { recursive: true });
  const args = ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", folder, `${name}@${oldest}.0`];
  await promisify(execFile)("npm", args, { timeout: 120_000 });
  return file;
}
