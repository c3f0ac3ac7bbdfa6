// Where the programs come from: the PATH, a cache, or a package of Debian.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFile, cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { beforeEach, expect, it } from "vitest";
import { findOnPath } from "../../local/find-on-path.ts";
import { needs } from "../helpers/needs.ts";
import { projectFolder, runProgram } from "../helpers/processes.ts";
import { closedPort } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const withoutApt = await needs("apt-get", "dpkg-deb", "tar");

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

/** Debian's tools alone on the PATH, with an apt that has no package lists and this source. Returns its settings. */
async function emptyApt(source: string): Promise<{ APT_CONFIG: string }> {
  for (const name of ["apt-get", "dpkg", "dpkg-deb", "tar"]) {
    await symlink((await findOnPath([name])) ?? "", path.join(onPath, name));
  }
  await mkdir(path.join(home, "lists/partial"), { recursive: true });
  const [file, list] = [path.join(home, "apt.conf"), path.join(home, "sources.list")];
  await writeFile(list, source);
  await writeFile(path.join(home, "status"), ""); // What is installed here would be apt's choice.
  const places = [`State::Lists "${home}/lists"`, `State::status "${home}/status"`, `Etc::sourcelist "${list}"`];
  await writeFile(file, [...places, 'Etc::sourceparts "none"'].map((place) => `Dir::${place};\n`).join(""));
  return { APT_CONFIG: file };
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

it("says in one line where to get a program that is nowhere, or how to do without", async () => {
  expect(await find("pushgateway")).toMatch(
    /^pushgateway was not found\..* no apt-get and dpkg here\. Put it on the PATH \(https:.*\), or do without .*\.\n$/,
  );
});

it("says what apt said where it reaches no mirror, and leaves nothing behind", withoutApt, async () => {
  const output = await find("promtool", await emptyApt(`deb http://127.0.0.1:${closedPort}/ stable main\n`));
  expect(output).toContain("promtool … failed\nfetching Debian's package lists … failed\n");
  expect(output).toMatch(/^promtool was not found\. .* could not be fetched: .*127\.0\.0\.1.*\(brew install/m);
  expect(await readdir(path.join(checkout, ".cache"))).toEqual([]);
});

it(
  "unpacks what a program needs as far as there are packages, and fetches lists once for all programs",
  withoutApt,
  async () => {
    const mirror = path.join(home, "mirror");
    const packages = {
      "prometheus-pushgateway": ["Depends: libevent-newer, libcares2", "usr/bin/prometheus-pushgateway"],
      libcares2: ["Section: libs", "usr/lib/libcares.so.2"],
    };
    for (const [name, [field, file = ""]] of Object.entries(packages)) {
      const fields = [`Package: ${name}`, "Version: 1", "Architecture: all", "Maintainer: nobody", field];
      const control = [...fields, "Description: none", ""].join("\n");
      const [tree, archive] = [path.join(home, name), path.join(mirror, `${name}.deb`)];
      for (const folder of [mirror, path.join(tree, "DEBIAN")]) await mkdir(folder, { recursive: true });
      await writeFile(path.join(tree, "DEBIAN/control"), control);
      await makeProgram(path.join(tree, path.dirname(file)), path.basename(file));
      await promisify(execFile)("dpkg-deb", ["--build", tree, archive]);
      const bytes = await readFile(archive);
      const sum = createHash("sha256").update(bytes).digest("hex");
      const listed = `${control}Filename: ./${name}.deb\nSize: ${bytes.length}\nSHA256: ${sum}\n\n`;
      await appendFile(path.join(mirror, "Packages"), listed);
    }
    const output = await find("pushgateway amtool", await emptyApt(`deb [trusted=yes] file:${mirror} ./\n`));
    const root = path.join(checkout, ".cache/prometheus-pushgateway");
    expect(output).toContain(found(path.join(root, "usr/bin/prometheus-pushgateway"), root));
    expect(output.match(/fetching Debian's package lists/g)).toHaveLength(1);
    expect(await readdir(path.join(checkout, ".cache"))).toEqual(["prometheus-pushgateway"]);
    expect(await readdir(path.join(root, "usr/lib"))).toEqual(["libcares.so.2"]);
  },
);
