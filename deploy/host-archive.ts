// npm run archive [-- x64 | arm64]: makes the archive for a host without AWS, in `dist`, with its SHA-256 beside it. It
// has Node 24, the commands in a file each, and config/: the host needs no git, npm or registry.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import manifest from "../package.json" with { type: "json" };
import { bundling } from "./archives.ts";

/** What `uname -m` says on a machine of an architecture, and the loader of its glibc. */
const machines = {
  x64: { machine: "x86_64", loader: "/lib64/ld-linux-x86-64.so.2" },
  arm64: { machine: "aarch64", loader: "/lib/ld-linux-aarch64.so.1" },
};
type Arch = keyof typeof machines;

/** A file of the archive, by its path in the archive's folder. */
interface Entry {
  name: string;
  content: Uint8Array;
  isProgram?: boolean;
}

const project = path.join(import.meta.dirname, "..");
const commands = ["serve", "doctor", "send", "verifiers"];

/**
 * Makes the uncompressed archive for an architecture: the same sources give the same bytes. All of it is in one folder,
 * whose name has the version and a digest of what is in it: no archive is ever unpacked over another one. Throws an
 * Error with a sentence where this architecture's Node cannot be had.
 */
export async function hostArchive(arch: Arch): Promise<{ folder: string; tar: Buffer }> {
  const entries = [...nodeEntries(arch), ...(await commandEntries()), ...configEntries()];
  const facts = { name: manifest.name, version: manifest.version, type: "module" };
  entries.push({ name: "package.json", content: Buffer.from(`${JSON.stringify(facts)}\n`) });
  const { machine, loader } = machines[arch];
  const program = readFileSync(path.join(project, "deploy/veza-ledger-metrics.sh"), "utf8")
    .replace("MACHINE", machine)
    .replace("LOADER", loader)
    .replace("VERSION", manifest.version);
  entries.push({ name: "bin/veza-ledger-metrics", content: Buffer.from(program), isProgram: true });
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const digest = createHash("sha256");
  for (const { name, content } of entries) digest.update(`${name} ${content.length}\n`).update(content);
  const folder = `${manifest.name}-${manifest.version}-${digest.digest("hex").slice(0, 8)}`;
  return { folder, tar: tarOf(folder, entries) };
}

/** Node and its licence. */
function nodeEntries(arch: Arch): Entry[] {
  const name = `node-linux-${arch}`;
  let source = path.join(project, "node_modules", name);
  const fetched = existsSync(source) ? undefined : fetchPackages(arch);
  if (fetched) source = path.join(fetched, "node_modules", name);
  try {
    return [
      { name: "node", content: withoutSymbols(readFileSync(path.join(source, "bin/node"))), isProgram: true },
      { name: "LICENSE.node", content: readFileSync(path.join(source, "LICENSE")) },
    ];
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

/**
 * Leaves the tables of symbols and sections out of a 64-bit ELF program. They are for debuggers, and an eighth of the
 * file, at its end: the system loads segments.
 */
function withoutSymbols(program: Buffer): Buffer {
  if (program.readUInt32BE(0) !== 0x7f454c46) throw new Error("Node's file is not a program for Linux");
  const [table, size, count] = [
    Number(program.readBigUInt64LE(32)),
    program.readUInt16LE(54),
    program.readUInt16LE(56),
  ];
  let end = table + size * count;
  for (let at = table; at < table + size * count; at += size) {
    end = Math.max(end, Number(program.readBigUInt64LE(at + 8) + program.readBigUInt64LE(at + 32)));
  }
  const kept = Buffer.from(program.subarray(0, end));
  kept.writeBigUInt64LE(0n, 40); // Where the sections are, their number, and the section with their names.
  kept.writeUInt32LE(0, 60);
  return kept;
}

/** A file for each command. It is not split: a running process needs no file that somebody may have deleted. */
async function commandEntries(): Promise<Entry[]> {
  const { outputFiles } = await build({
    ...bundling,
    absWorkingDir: project,
    entryPoints: commands.map((name) => `commands/${name}.ts`),
    outdir: "commands",
    write: false,
  });
  return outputFiles.map((file) => ({
    name: path.relative(project, file.path),
    content: Buffer.from(file.contents),
  }));
}

/** What people load and run: config/ without what it is generated from. */
function configEntries(): Entry[] {
  return readdirSync(path.join(project, "config"), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile() && !/\.ts$|^alerts-of-checks\.yml$/.test(file.name))
    .map((file) => {
      const source = path.join(file.parentPath, file.name);
      return {
        name: path.relative(project, source),
        content: readFileSync(source),
        isProgram: /\.sh$/.test(file.name),
      };
    });
}

/** An archive in tar's format ustar, in which everything is root's and of 1980. */
function tarOf(folder: string, entries: Entry[]): Buffer {
  const folders = new Set([folder]);
  for (const { name } of entries) {
    for (let parent = path.dirname(name); parent !== "."; parent = path.dirname(parent)) {
      folders.add(`${folder}/${parent}`);
    }
  }
  const parts = [...folders].sort().map((name) => tarHeader(`${name}/`, 0o755, 0, "5"));
  for (const { name, content, isProgram } of entries) {
    parts.push(tarHeader(`${folder}/${name}`, isProgram ? 0o755 : 0o644, content.length, "0"), Buffer.from(content));
    parts.push(Buffer.alloc(-content.length & 511));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

/** The block of 512 bytes before a file or folder. Throws an Error for a name that is too long for it. */
function tarHeader(name: string, mode: number, size: number, type: "0" | "5"): Buffer {
  if (Buffer.byteLength(name) > 99) throw new Error(`too long for the archive: ${name}`);
  const block = Buffer.alloc(512);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  const madeAt = Date.UTC(1980, 0, 1) / 1000;
  block.write(name);
  block.write(`${octal(mode, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0${octal(size, 11)}\0${octal(madeAt, 11)}\0`, 100);
  block.write(`        ${type}`, 148); // Its sum is made of spaces in the sum's place.
  block.write("ustar\x0000root", 257);
  block.write("root", 297);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}

/** Writes files, by their names, into a folder: all of them, or none where one cannot be written, as on a full disk. */
export function writeAll(folder: string, files: Record<string, string | Uint8Array>): void {
  const partOf = (name: string) => path.join(folder, `${name}.part`);
  mkdirSync(folder, { recursive: true });
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(partOf(name), content);
  } catch (error) {
    for (const name of Object.keys(files)) rmSync(partOf(name), { force: true });
    throw error;
  }
  for (const name of Object.keys(files)) renameSync(partOf(name), path.join(folder, name));
}

/** Makes the archive and its checksum. Prints the archive's path. */
async function main(arch: string = process.arch): Promise<void> {
  if (!Object.hasOwn(machines, arch)) throw new Error(`there is no archive for ${arch}: ask for x64 or arm64`);
  const { tar } = await hostArchive(arch as Arch);
  const name = `${manifest.name}-${manifest.version}-linux-${arch}.tar.gz`;
  const packed = gzipSync(tar);
  const sha256 = createHash("sha256").update(packed).digest("hex");
  writeAll(path.join(project, "dist"), { [name]: packed, [`${name}.sha256`]: `${sha256}  ${name}\n` });
  console.log(`dist/${name}`);
}

if (import.meta.main) {
  await main(...process.argv.slice(2)).catch((error: Error) => {
    console.error(`No archive: ${error.message}.`);
    process.exitCode = 1;
  });
}
