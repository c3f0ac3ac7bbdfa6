// What the tests of the Go client have in common.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { needs, skippedBecause } from "./needs.ts";

export const clientFolder = path.resolve("clients/go");
export const testFolder = path.join(clientFolder, "test");
export const exampleFolder = path.join(clientFolder, "example");

/** The race detector needs a compiler for C, with the headers of its library. */
const detectsRaces = !(await needs("gcc")).skip && existsSync("/usr/include/stdlib.h");
export const race = detectsRaces ? ["-race"] : [];
export const withoutGo = await needsGo();

/** From Go 1.21 on, Go fetches the version that a module asks for. Debian 12 has an older one. */
async function needsGo() {
  const missing = await needs("go");
  if (missing.skip) return missing;
  const { stdout } = await promisify(execFile)("go", ["version"]);
  const [, minor = ""] = /go1\.(\d+)/.exec(stdout) ?? [];
  return skippedBecause(Number(minor) < 21 && `Go 1.21 or later is missing: this is 1.${minor}`);
}

/** Runs a program. Resolves to what it printed, or rejects with that when it fails. */
export async function run(
  command: string,
  args: string[],
  environment: Record<string, string> = {},
  cwd = clientFolder,
) {
  const env = { ...process.env, CGO_ENABLED: detectsRaces ? "1" : "0", ...environment };
  const ran = promisify(execFile)(command, args, { cwd, env, timeout: 600_000 }).catch((error) => {
    throw new Error(`${command} ${args.join(" ")} failed:\n${error.stdout}${error.stderr}`, { cause: error });
  });
  return (await ran).stdout;
}

/** Options of tests that need drivers and gorm: modules, from Go's cache or from the proxy that Go is set up with. */
export const withoutModules = withoutGo.skip
  ? withoutGo
  : await run("go", ["mod", "download"], {}, testFolder)
      .then(() => run("go", ["mod", "download"], {}, exampleFolder))
      .then(
        () => skippedBecause(false),
        ({ message }: Error) => skippedBecause(`Go lacks modules of clients/go: ${message.trim().split("\n").at(-1)}`),
      );
