import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { findOnPath } from "./find-on-path.ts";
import { announce } from "./progress.ts";

const run = promisify(execFile);
const aptTimeoutMs = 180_000;
/** A mirror that does not answer is given up; apt itself would try for minutes. */
const limits = ["Acquire::Retries=0", "Acquire::http::Timeout=10", "Acquire::https::Timeout=10"];

/** Whether this system has Debian's packages, as Debian itself and Ubuntu do. */
export async function hasDebianPackages(): Promise<boolean> {
  return Boolean((await findOnPath(["apt-get"])) && (await findOnPath(["dpkg-deb"])));
}

/**
 * Unpacks a package of Debian or Ubuntu into a folder without installing it. So it does with the scripts and fonts of
 * its web pages, and with the libraries of PgBouncer. Needs no root, takes no lock of the system, and changes
 * nothing in the system. Where the package lists are missing, old, or being updated, it fetches lists of its own, and
 * deletes them afterwards. Packages that are unpacked at the same time share them.
 *
 * Throws an Error with apt's reason, or when `signal` aborts; nothing is left in the folder then.
 */
export async function unpackDebianPackage(name: string, root: string, signal?: AbortSignal): Promise<void> {
  await mkdir(path.dirname(root), { recursive: true });
  const folder = await mkdtemp(`${root}-download-`);
  const unpacked = path.join(folder, "root");
  lists.users++;
  try {
    let apt: Apt = { folder, settings: limits, signal };
    const download = () => downloadPackages(apt, [name], `Debian's package ${name}`);
    await download().catch(async () => {
      lists.fetched ??= fetchLists(path.dirname(root), signal);
      apt = { folder, settings: (await lists.fetched).settings, signal };
      return download();
    });
    const seen = new Set([name]);
    for (;;) {
      const needed = (await unpackAll(folder, unpacked)).filter((other) => !seen.has(other));
      if (needed.length === 0) break;
      for (const other of needed) seen.add(other);
      // Without fonts and scripts its pages are plain, and it runs all the same. A package without a source keeps apt
      // from fetching the others: an installed library may be newer than the package lists.
      await downloadPackages(apt, needed, "the packages that it needs").catch(async () => {
        for (const other of needed) {
          await downloadPackages(apt, [other], other).catch(() => signal?.throwIfAborted());
        }
      });
    }
    await rename(unpacked, root).catch((error) => {
      if (!/^(ENOTEMPTY|EEXIST)$/.test(error.code)) throw error; // Another process was faster.
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
    if (--lists.users === 0) {
      const { fetched } = lists;
      lists.fetched = undefined;
      await fetched?.then(({ folder: own }) => rm(own, { recursive: true, force: true })).catch(() => {});
    }
  }
}

interface Apt {
  /** Where it puts what it downloads. */
  folder: string;
  settings: string[];
  signal: AbortSignal | undefined;
}

async function runApt({ folder, settings, signal }: Apt, ...args: string[]): Promise<void> {
  const options = settings.flatMap((setting) => ["-o", setting]);
  const env = { ...process.env, LC_ALL: "C" };
  try {
    await run("apt-get", ["-q", ...options, ...args], {
      cwd: folder,
      env,
      timeout: aptTimeoutMs,
      ...(signal && { signal }),
    });
  } catch (error) {
    throw new Error(reasonOf(error), { cause: error });
  }
}

async function downloadPackages(apt: Apt, names: string[], what: string): Promise<void> {
  await announce(`downloading ${what}`, async () => {
    await runApt(apt, "download", ...names);
    let bytes = 0;
    for (const archive of await archivesIn(apt.folder)) bytes += (await stat(archive)).size;
    return `${(bytes / 1e6).toFixed(1)} MB`;
  });
}

/** The lists of this process's own, and how many packages are being unpacked. */
const lists: { users: number; fetched?: Promise<Apt> | undefined } = { users: 0 };

/** Fetches package lists into a new folder in `parent`. Nothing is left of it when that fails. */
async function fetchLists(parent: string, signal: AbortSignal | undefined): Promise<Apt> {
  const folder = await mkdtemp(path.join(parent, "lists-"));
  try {
    await mkdir(path.join(folder, "lists/partial"), { recursive: true });
    const own = [`Dir::State::Lists=${folder}/lists`, `Dir::Cache=${folder}/cache`, "APT::Sandbox::User="];
    const settings = [...limits, ...own];
    await announce("fetching Debian's package lists", async () => {
      await runApt({ folder, settings: [...settings, "APT::Update::Error-Mode=any"], signal }, "update");
      return "done";
    });
    return { folder, settings, signal };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/**
 * Unpacks the downloaded packages and deletes their archives. Resolves to the names of packages that they need.
 */
async function unpackAll(folder: string, root: string): Promise<string[]> {
  const needed: string[] = [];
  for (const archive of await archivesIn(folder)) {
    await run("dpkg-deb", ["-x", archive, root]);
    // What it leaves in its temporary folder when it is interrupted is deleted with this folder.
    const env = { ...process.env, TMPDIR: folder };
    const { stdout } = await run("dpkg-deb", ["-f", archive, "Depends"], { env });
    needed.push(...(stdout.match(/\b(libjs-|fonts-|libevent-|libcares|libc-ares)[a-z0-9.+-]+/g) ?? []));
    await rm(archive);
  }
  return needed;
}

async function archivesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((file) => file.endsWith(".deb")).map((file) => path.join(folder, file));
}

/** The first error that apt printed. */
function reasonOf(error: unknown): string {
  const { stderr = "", message, killed } = error as Error & { stderr?: string; killed?: boolean };
  if (killed) return `apt-get took over ${aptTimeoutMs / 1000} s`;
  return /^E: (.*)/m.exec(stderr)?.[1]?.trim() ?? message.split("\n")[0] ?? "";
}
