import { execFile, spawn } from "node:child_process";
import { access, constants, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "./ports.ts";

const run = promisify(execFile);
const cacheFolder = path.join(import.meta.dirname, "..", ".cache");

/** A program that runs in the background. */
export interface Running {
  url: string;
  pid: number;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a real Pushgateway without persistence on 127.0.0.1, from `preferredPort` on, and waits until it is ready. */
export async function startPushgateway(preferredPort: number): Promise<Running> {
  const program = await find("prometheus-pushgateway", ["prometheus-pushgateway", "pushgateway"], "PUSHGATEWAY_URL");
  const port = await freePort(preferredPort);
  const assets = program.root && [`--web.local-assets=${program.root}/usr/share/prometheus/pushgateway`];
  return start(
    program.path,
    [`--web.listen-address=127.0.0.1:${port}`, "--persistence.file=", ...(assets || [])],
    port,
  );
}

/**
 * Finds a program: on the PATH; else, on Debian and Ubuntu, in its package, which is unpacked into `.cache` without
 * installing it (`root` is that folder). Throws an error that says what to do.
 */
async function find(debianPackage: string, names: string[], setting: string): Promise<{ path: string; root?: string }> {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    for (const name of names) {
      const file = path.join(folder, name);
      if (await isExecutable(file)) return { path: file };
    }
  }
  const root = path.join(cacheFolder, debianPackage);
  const unpacked = { path: path.join(root, "usr/bin", debianPackage), root };
  if (await isExecutable(unpacked.path)) return unpacked;
  try {
    await unpackDebianPackage(debianPackage, root);
    return unpacked;
  } catch (cause) {
    throw new Error(`${names.at(-1)} was not found. Install it so that it is on the PATH, or set ${setting}.`, {
      cause,
    });
  }
}

async function unpackDebianPackage(name: string, root: string): Promise<void> {
  await mkdir(cacheFolder, { recursive: true });
  const folder = await mkdtemp(path.join(cacheFolder, "download-"));
  try {
    const download = () => run("apt-get", ["download", "-q", name], { cwd: folder });
    await download().catch(async () => {
      await run("apt-get", ["update", "-q"]); // The package lists may be empty or old.
      await download();
    });
    const archive = (await readdir(folder)).find((file) => file.endsWith(".deb"));
    await run("dpkg", ["-x", path.join(folder, archive ?? ""), path.join(folder, "root")]);
    await rename(path.join(folder, "root"), root);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function start(file: string, args: string[], port: number): Promise<Running> {
  const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"] });
  let output = "";
  child.stderr.on("data", (chunk) => {
    output = (output + chunk).slice(-2000);
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  const running = {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    async stop(signal: NodeJS.Signals = "SIGTERM") {
      child.kill(signal);
      await exited;
      process.off("exit", killNow);
    },
  };
  for (const until = Date.now() + 10_000; Date.now() < until && child.exitCode === null; await sleep(50)) {
    const ready = await fetch(`${running.url}/-/ready`).catch(() => undefined);
    if (ready?.ok) return running;
  }
  await running.stop("SIGKILL");
  throw new Error(`${path.basename(file)} did not start:\n${output}`);
}
