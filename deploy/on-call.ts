// npm run oncall -- FILE: writes the file of people on call of the stage that the environment describes.
import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";
import { forPeople } from "./archives.ts";

const project = path.join(import.meta.dirname, "..");

/** Resolves to the program of people on call, without a stage: the text of one file for Node, 20.19 or later. */
export async function onCallProgram(): Promise<string> {
  const { outputFiles } = await build({ ...forPeople, absWorkingDir: project, write: false, outdir: "." });
  return outputFiles[0]?.text ?? "";
}

if (import.meta.main) {
  const program = path.join(project, ".cache/oncall.mjs");
  await mkdir(path.dirname(program), { recursive: true });
  await writeFile(program, await onCallProgram());
  const [file = "oncall.mjs"] = process.argv.slice(2);
  process.exitCode = spawnSync(process.execPath, [program, "write-stage", file], { stdio: "inherit" }).status ?? 1;
}
