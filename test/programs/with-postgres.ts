import { spawnSync } from "node:child_process";
import { postgresPackage } from "../helpers/postgres-package.ts";

// npm run test:postgres -- <major> [test files …]: the tests on another major version of PostgreSQL, by the same
// packager.
const [major = "", ...files] = process.argv.slice(2);
if (!/^\d+$/.test(major)) {
  console.error("usage: npm run test:postgres -- <major, such as 15> [test files …]");
  process.exit(2);
}
const { status } = spawnSync("vitest", ["run", "--project", "unit", "--project", "real", ...files], {
  stdio: "inherit",
  env: { ...process.env, POSTGRES_PACKAGE: await postgresPackage(Number(major)) },
});
process.exitCode = status ?? 1;
