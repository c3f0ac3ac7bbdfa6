// npm run archive [-- x64 | arm64]: makes the archive for a host without AWS, in `dist`, with its SHA-256 beside it. It
// has Node 24, the commands in a file each, and config/: the host needs no git, npm or registry.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { build, type OutputFile } from "esbuild";
import manifest from "../package.json" with { type: "json" };
import { bundling, forPeople } from "./archives.ts";

/** What `uname -m` says on a machine of an architecture, and the loader of its glibc. */
const machines = {
  x64: { machine: "x86_64", loader: "/lib64/ld-linux-x86-64.so.2" },
  arm64: { machine: "aarch64", loader: "/lib/ld-linux-aarch64.so.1" },
};
type Arch = keyof typeof machines;

const project = path.join(import.meta.dirname, "..");
/** The steps of ./setup: root can read what it runs. */
const host = path.join(project, "setup/host");
const commands = ["serve", "doctor", "send"];

/**
 * Makes the uncompressed archive for an architecture: the same sources and the same tar give the same bytes. All of it
 * is in one folder, which has the version in its name, and is root's. `setup` comes last: where unpacking is broken
 * off, there is none to run. Throws an Error with a sentence where this architecture's Node cannot be had.
 */
export async function hostArchive(arch: Arch): Promise<{ folder: string; tar: Buffer }> {
  const folder = `${manifest.name}-${manifest.version}`;
  const staging = mkdtempSync(path.join(tmpdir(), "veza-archive-"));
  const at = (name: string) => path.join(staging, folder, name);
  const put = (name: string, text: string, mode = 0o644) => {
    mkdirSync(path.dirname(at(name)), { recursive: true });
    writeFileSync(at(name), text);
    chmodSync(at(name), mode);
  };
  try {
    copyNode(arch, at(""));
    cpSync(path.join(project, "config"), at("config"), {
      recursive: true,
      filter: (source) => !/\.ts$|\/alerts-of-checks\.yml$/.test(source), // What others are generated from.
    });
    for (const { path: file, text } of await bundles()) put(path.relative(project, file), text);
    const facts = { name: manifest.name, version: manifest.version, type: "module" };
    put("package.json", `${JSON.stringify(facts)}\n`);
    const { machine, loader } = machines[arch];
    const program = readFileSync(path.join(project, "deploy/veza-ledger-metrics.sh"), "utf8")
      .replace("MACHINE", machine)
      .replace("LOADER", loader)
      .replace("VERSION", manifest.version);
    put("bin/veza-ledger-metrics", program, 0o755);
    for (const name of readdirSync(host).filter((each) => !each.endsWith(".ts"))) {
      // Last is the one that people run: it reads the others.
      put(name === "setup.sh" ? "setup" : `host/${name}`, readFileSync(path.join(host, name), "utf8"));
    }
    return { folder, tar: packed(staging, folder) };
  } finally {
    rmSync(staging, { recursive: true });
  }
}

/** Packs a folder of `staging` with modes, owners and times that do not depend on this machine. */
function packed(staging: string, folder: string): Buffer {
  const names = readdirSync(path.join(staging, folder), { recursive: true, encoding: "utf8" });
  const inOrder = ["", ...names.filter((name) => name !== "setup").sort(), "setup"].map((name) =>
    path.join(folder, name),
  );
  for (const name of inOrder) {
    const file = path.join(staging, name);
    const isProgram = statSync(file).isDirectory() || /(^|\/)(node|setup|bin\/[\w-]+)$/.test(name);
    chmodSync(file, isProgram ? 0o755 : 0o644);
    utimesSync(file, madeAt, madeAt);
  }
  const isGnu = execFileSync("tar", ["--version"], { encoding: "utf8" }).includes("GNU");
  const owner = isGnu ? ["--owner=root:0", "--group=root:0"] : ["--uid=0", "--gid=0", "--uname=root", "--gname=root"];
  const args = ["-cf", "-", "--format=ustar", ...owner, "--no-recursion", "-C", staging, "-T", "-"];
  return execFileSync("tar", args, {
    input: inOrder.join("\n"),
    maxBuffer: 2 ** 30,
    env: { ...process.env, COPYFILE_DISABLE: "1" }, // macOS would add files of its own.
  });
}
const madeAt = new Date("1980-01-02T00:00:00Z");

/** Copies Node and its licence into a folder, which it makes. */
function copyNode(arch: Arch, folder: string): void {
  const name = `node-linux-${arch}`;
  const own = path.join(project, "node_modules", name);
  const fetched = existsSync(own) ? undefined : fetchPackages(arch);
  const source = fetched ? path.join(fetched, "node_modules", name) : own;
  try {
    cpSync(path.join(source, "bin/node"), path.join(folder, "node"));
    cpSync(path.join(source, "LICENSE"), path.join(folder, "LICENSE.node"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") throw error;
    throw new Error(`npm has not brought ${name}: use npm 10.8 or later, or make this archive on linux-${arch}`);
  } finally {
    if (fetched) rmSync(fetched, { recursive: true });
  }
}

/** Lets npm install the packages of another architecture, by the lock file's digests. Returns a folder to delete. */
function fetchPackages(arch: Arch): string {
  const folder = mkdtempSync(path.join(tmpdir(), "veza-archive-"));
  for (const file of ["package.json", "package-lock.json", ".npmrc"]) {
    cpSync(path.join(project, file), path.join(folder, file));
  }
  const args = ["ci", "--omit=dev", "--ignore-scripts", "--os=linux", `--cpu=${arch}`];
  try {
    execFileSync("npm", args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  } catch {
    rmSync(folder, { recursive: true });
    throw new Error(`npm could not fetch Node for linux-${arch}: its lines above say why`);
  }
  return folder;
}

/** A file for each command. It is not split: a running process needs no file that somebody may have deleted. */
async function bundles(): Promise<OutputFile[]> {
  const where = { absWorkingDir: project, outdir: "commands", write: false } as const;
  const entryPoints = [
    ...commands.map((name) => ({ in: `commands/${name}.ts`, out: name })),
    { in: "setup/host.ts", out: "host" },
  ];
  const own = await build({ ...bundling, ...where, entryPoints });
  const ofPeople = await build({ ...forPeople, ...where });
  return [...own.outputFiles, ...ofPeople.outputFiles];
}

/** Makes the archive and its checksum. Prints the archive's path. */
async function main(arch: string = process.arch): Promise<void> {
  if (!Object.hasOwn(machines, arch)) throw new Error(`there is no archive for ${arch}: ask for x64 or arm64`);
  const { tar } = await hostArchive(arch as Arch);
  const name = `${manifest.name}-${manifest.version}-linux-${arch}.tar.gz`;
  const packed = gzipSync(tar);
  const sha256 = createHash("sha256").update(packed).digest("hex");
  const file = path.join(project, "dist", name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, packed);
  writeFileSync(`${file}.sha256`, `${sha256}  ${name}\n`); // Last: no checksum fits a part of an archive.
  console.log(`dist/${name}`);
}

if (import.meta.main) {
  await main(...process.argv.slice(2)).catch((error: Error) => {
    console.error(`No archive: ${error.message}.`);
    process.exitCode = 1;
  });
}
