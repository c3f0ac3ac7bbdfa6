// What the tests of the Go client have in common.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { access, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll } from "vitest";
import { needs, skippedBecause } from "./needs.ts";

export const clientFolder = path.resolve("clients/go");
export const testFolder = path.join(clientFolder, "test");
const exampleFolder = path.join(clientFolder, "example");

/**
 * The race detector needs a compiler for C, with the headers of its library. All that compiles gets the same flag, since
 * Go compiles its library and all modules once more for another one.
 */
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

/** What is built for the tests, the longest tests' program first: Go's arguments, and the folder of the module. */
const builds = {
  tests: { args: ["test", "-c"], of: ".", folder: testFolder },
  reconciler: { args: ["build"], of: "./reconciler", folder: testFolder },
  example: { args: ["build"], of: ".", folder: exampleFolder },
};
type Name = keyof typeof builds;

/** For all test files of a run. */
const programs = path.join(process.env.TEST_FOLDER ?? "", "go-programs");

/** Builds all of them, in the test file that is the first to come. Its last test is followed by the last build. */
let building: Promise<void> | undefined;
if (!withoutModules.skip) {
  const isFirst = await mkdir(programs).then(
    () => true,
    () => false,
  );
  if (isFirst) building = buildAll();
  afterAll(() => building);
}

async function buildAll(): Promise<void> {
  for (const [name, { args, of, folder }] of Object.entries(builds)) {
    const program = path.join(programs, name);
    const problem = await run("go", [...args, ...race, "-o", program, of], {}, folder).then(
      () => "",
      ({ message }: Error) => message,
    );
    await writeFile(`${program}.problem`, problem);
  }
}

/** The path of a program that is built once for all test files. Rejects with what Go says when it does not compile. */
export async function built(name: Name): Promise<string> {
  const program = path.join(programs, name);
  const isDone = () =>
    access(`${program}.problem`).then(
      () => true,
      () => false,
    );
  while (!(await isDone())) await sleep(50);
  const problem = await readFile(`${program}.problem`, "utf8");
  if (problem) throw new Error(problem);
  return program;
}
