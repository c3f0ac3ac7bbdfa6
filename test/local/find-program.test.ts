// Where the programs come from: the PATH or a cache; and what is said where they are nowhere.
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, expect, it } from "vitest";
import { projectFolder, runProgram } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** A checkout of its own, with nothing in its cache; and a home, and a folder for the PATH, with nothing in them. */
let checkout: string;
let home: string;
let onPath: string;

beforeEach(async () => {
  const folder = await newFolder();
  [checkout = "", home = "", onPath = ""] = ["a checkout", "home", "bin"].map((name) => path.join(folder, name));
  for (const made of [home, onPath, path.join(checkout, "test")]) await mkdir(made, { recursive: true });
  for (const copied of ["lib", "local", "test/helpers", "test/programs", "package.json"]) {
    await cp(path.join(projectFolder, copied), path.join(checkout, copied), { recursive: true });
  }
  await symlink(path.join(projectFolder, "node_modules"), path.join(checkout, "node_modules"));
});

/** The lines of the steps, and then where each program is, or why it was not found. */
async function find(names: string, environment: Record<string, string> = {}): Promise<string> {
  const script = path.join(checkout, "test/programs/find-program.ts");
  const places = { HOME: home, XDG_CACHE_HOME: "", PATH: onPath };
  return (await runProgram(process.execPath, [script, ...names.split(" ")], { ...places, ...environment }).exited)
    .output;
}

const found = (file: string, root?: string) => `${JSON.stringify({ file, root })}\n`;

async function makeProgram(folder: string, name: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, name);
  await writeFile(file, "#!/bin/sh\n", { mode: 0o755 });
  return file;
}

it("takes a program from the PATH, else from the cache next to the sources, else from the user's", async () => {
  const debianName = "prometheus-pushgateway";
  const elsewhere = path.join(home, "elsewhere");
  for (const [cache, environment] of [
    [path.join(home, ".cache/veza-ledger-metrics"), {}],
    [path.join(elsewhere, "veza-ledger-metrics"), { XDG_CACHE_HOME: elsewhere }],
    [path.join(checkout, ".cache"), {}],
  ] as const) {
    const root = path.join(cache, debianName);
    const file = await makeProgram(path.join(root, "usr/bin"), debianName);
    expect(await find("pushgateway", environment)).toBe(found(file, root));
  }
  for (const name of [debianName, "pushgateway"]) {
    const file = await makeProgram(onPath, name);
    expect(await find("pushgateway")).toBe(found(file));
  }
});

it("finds promtool in the package of Prometheus, where Debian 12 has it, or in its own", async () => {
  for (const debianPackage of ["promtool", "prometheus"]) {
    const root = path.join(checkout, ".cache", debianPackage);
    const file = await makeProgram(path.join(root, "usr/bin"), "promtool");
    expect(await find("promtool")).toBe(found(file, root));
  }
});

it("says in one line where to get a program that is nowhere, or how to do without", async () => {
  expect(await find("pushgateway")).toMatch(
    /^pushgateway was not found\..* no apt-get and dpkg here\. Put it on the PATH \(https:.*\), or do without .*\.\n$/,
  );
});
