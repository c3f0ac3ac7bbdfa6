// npm run oncall [-- FILE]: bundles the program of people on call and, with the addresses in the environment, writes
// the file of a stage. The archive of a host has the bundle.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { build } from "esbuild";
import { forPeople } from "./archives.ts";

const project = path.join(import.meta.dirname, "..");
await build({ ...forPeople, absWorkingDir: project, outdir: ".cache" });
const [file] = process.argv.slice(2);
if (file) {
  const args = [path.join(project, ".cache/oncall.mjs"), "write-stage", file];
  process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
}
