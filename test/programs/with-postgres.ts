import { spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { postgresPackage } from "../helpers/postgres-package.ts";
import { recordTried } from "../helpers/tried.ts";

// npm run test:postgres -- <major> [test files …]: the tests on another major version of PostgreSQL, by the same
// packager. A whole run that passes writes the version into docs/local.md.
const [major = "", ...files] = process.argv.slice(2);
if (!/^\d+$/.test(major)) {
  console.error("usage: npm run test:postgres -- <major, such as 15> [test files …]");
  process.exit(2);
}
const entry = await postgresPackage(Number(major));
const manifest = await readFile(path.join(path.dirname(entry), "../package.json"), "utf8");
const [version = ""] = /^\d+\.\d+/.exec(JSON.parse(manifest).version) ?? [];
console.log(`PostgreSQL ${version} (${entry})`);
const { status } = spawnSync("vitest", ["run", "--project", "unit", "--project", "real", ...files], {
  stdio: "inherit",
  env: { ...process.env, POSTGRES_PACKAGE: entry },
});
process.exitCode = status ?? 1;
if (status === 0 && files.length === 0) await recordTried({ PostgreSQL: version });
