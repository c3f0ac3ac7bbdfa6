// Where the programs come from: the PATH, a cache, or a package of Debian.
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { hasDebianPackages } from "../../local/debian-package.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { projectFolder, runProgram } from "../helpers/processes.ts";
import { closedPort } from "../helpers/servers.ts";

const hasApt = await hasDebianPackages();

/** A checkout of its own, with nothing in its cache; and a home, and a folder for the PATH, with nothing in them. */
let checkout: string;
let home: string;
let onPath: string;

beforeEach(async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-find-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  [checkout = "", home = "", onPath = ""] = ["a checkout", "home", "bin"].map((name) => path.join(folder, name));
  for (const made of [home, onPath, path.join(checkout, "test")]) await mkdir(made, { recursive: true });
  for (const copied of ["lib", "local", "test/programs", "package.json"]) {
    await cp(path.join(projectFolder, copied), path.join(checkout, copied), { recursive: true });
  }
  await symlink(path.join(projectFolder, "node_modules"), path.join(checkout, "node_modules"));
});

/** What it says on standard output, and before that the lines of its steps. */
async function find(name: string, environment: Record<string, string> = {}) {
  const program = runProgram(process.execPath, [path.join(checkout, "test/programs/find-program.ts"), name], {
    HOME: home,
    XDG_CACHE_HOME: "",
    PATH: onPath,
    ...environment,
  });
  await program.exited;
  return program.output();
}

async function makeProgram(folder: string, name: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const file = path.join(folder, name);
  await writeFile(file, "#!/bin/sh\n", { mode: 0o755 });
  return file;
}

/** Debian's tools and nothing else on the PATH: this machine may have the program itself. */
async function linkDebianTools(): Promise<void> {
  for (const name of ["apt-get", "dpkg", "dpkg-deb", "tar"]) {
    await symlink((await findOnPath([name])) ?? "", path.join(onPath, name));
  }
}

const found = (file: string, root?: string) => `${JSON.stringify({ file, root })}\n`;

const unpacked = "prometheus-pushgateway/usr/bin";

it("takes a program from the PATH, under either name, before a cache", async () => {
  await makeProgram(path.join(checkout, ".cache", unpacked), "prometheus-pushgateway");
  const debianName = await makeProgram(onPath, "prometheus-pushgateway");
  expect(await find("pushgateway")).toBe(found(debianName));
  const ownName = await makeProgram(onPath, "pushgateway");
  expect(await find("pushgateway")).toBe(found(ownName));
});

it("takes a program from the cache beside the sources, else from the user's", async () => {
  const elsewhere = path.join(home, "elsewhere");
  for (const [cache, environment] of [
    [path.join(home, ".cache/veza-ledger-metrics"), {}],
    [path.join(elsewhere, "veza-ledger-metrics"), { XDG_CACHE_HOME: elsewhere }],
    [path.join(checkout, ".cache"), {}],
  ] as const) {
    const program = await makeProgram(path.join(cache, unpacked), "prometheus-pushgateway");
    expect(await find("pushgateway", environment)).toBe(found(program, path.join(cache, "prometheus-pushgateway")));
  }
});

it("says in one line where to get a program that is nowhere, or how to do without", async () => {
  expect(await find("pushgateway")).toBe(
    "pushgateway was not found. The PATH has no pushgateway or prometheus-pushgateway, and Debian's package " +
      "prometheus-pushgateway could not be fetched: there is no apt-get and dpkg here. Put it on the PATH " +
      "(https://prometheus.io/download/#pushgateway), or set PUSHGATEWAY_URL.\n",
  );
});

it.skipIf(!hasApt)("says so where neither cache can be written to", async () => {
  await linkDebianTools();
  await writeFile(path.join(checkout, ".cache"), "a file, no folder");
  await writeFile(path.join(home, ".cache"), "a file, no folder");
  expect(await find("amtool")).toContain("cannot be written to; set XDG_CACHE_HOME");
});

it.skipIf(!hasApt)("says what apt said where it reaches no mirror, and leaves nothing behind", async () => {
  await linkDebianTools();
  const folder = path.join(home, "apt");
  await mkdir(path.join(folder, "lists/partial"), { recursive: true });
  await writeFile(path.join(folder, "sources.list"), `deb http://127.0.0.1:${closedPort}/ stable main\n`);
  const settings = {
    "Dir::State::Lists": "lists",
    "Dir::Etc::sourcelist": "sources.list",
    "Dir::Etc::sourceparts": "none",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${path.join(folder, value)}";\n`);
  await writeFile(path.join(folder, "apt.conf"), lines);
  const output = await find("promtool", { APT_CONFIG: path.join(folder, "apt.conf") });
  expect(output).toContain(
    "downloading Debian's package promtool … failed\nfetching Debian's package lists … failed\n",
  );
  expect(output).toMatch(
    /^promtool was not found\. .* could not be fetched: .*127\.0\.0\.1.*\(brew install prometheus/m,
  );
  expect(await readdir(path.join(checkout, ".cache"))).toEqual([]);
});

// A minute on a slow line, and only with a mirror: where the whole is proven, and not in every run.
it.skipIf(!hasApt || !process.env.CI)(
  "fetches package lists of its own where the system has none, and changes nothing there",
  async () => {
    await linkDebianTools();
    const lists = path.join(home, "lists");
    await mkdir(path.join(lists, "partial"), { recursive: true });
    await writeFile(path.join(home, "apt.conf"), `Dir::State::Lists "${lists}";\n`);
    const output = await find("promtool", { APT_CONFIG: path.join(home, "apt.conf") });
    const root = path.join(checkout, ".cache/promtool");
    expect(output).toContain("fetching Debian's package lists … done\n");
    expect(output).toContain(found(path.join(root, "usr/bin/promtool"), root));
    expect((await readFile(path.join(root, "usr/bin/promtool"))).length).toBeGreaterThan(1e6);
    expect(await readdir(path.join(checkout, ".cache"))).toEqual(["promtool"]);
    expect(await readdir(lists)).toEqual(["partial"]);
  },
);
