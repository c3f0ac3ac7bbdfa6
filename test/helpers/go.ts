import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { findOnPath } from "../../local/find-on-path.ts";
import { projectFolder } from "./processes.ts";
import { newFolder } from "./temporary-folder.ts";

export const modulePath = "github.com/veza/veza-ledger-metrics/clients/go";
/** Where libraries are: in the folders of GOPATH, and where Debian's packages put them. */
const libraries = [...(process.env.GOPATH ?? "").split(path.delimiter).filter(Boolean), "/usr/share/gocode"];
/** Path of a library's sources, or undefined where it is not installed. */
export const sourcesOf = (library: string): string | undefined =>
  libraries.map((folder) => path.join(folder, "src", library)).find((folder) => existsSync(folder));

/** The driver of gorm: pgx 5, or 4 where Debian has no other. */
const pgx = sourcesOf("github.com/jackc/pgx/v5") ? "pgx/v5" : "pgx/v4";
const drivers = ["github.com/lib/pq", `github.com/jackc/${pgx}/stdlib`];

export const goIsHere = (await findOnPath(["go"])) !== undefined;
export const driversAreHere = drivers.every((driver) => sourcesOf(driver));
/** The race detector needs a compiler for C, with the headers of its library. */
export const raceDetectorIsHere = (await findOnPath(["gcc"])) !== undefined && existsSync("/usr/include/stdlib.h");

const clientFolder = path.join(projectFolder, "clients/go");

/** Nothing is downloaded: no module, no newer Go. No access to the Git repository is needed. */
const offline = {
  // Without paths in what it builds, Go finds it again in its cache.
  GOFLAGS: `-buildvcs=false -trimpath ${raceDetectorIsHere ? "-race" : ""}`,
  CGO_ENABLED: raceDetectorIsHere ? "1" : "0",
  GOPROXY: "off",
  GOTOOLCHAIN: "local",
  GOWORK: "off",
};
export const withModules = { ...offline, GO111MODULE: "on" };

/**
 * A copy of the client in a GOPATH where it finds these libraries, without a module proxy. Its tests have two drivers
 * there, `postgres` and `pgx`. `examples` are programs next to it, by the names of their folders.
 */
export async function makeGopath(examples: Record<string, string>) {
  const gopath = await newFolder();
  const folder = path.join(gopath, "src", modulePath);
  await cp(clientFolder, folder, { recursive: true });
  if (driversAreHere) {
    const imports = drivers.map((driver) => `import _ "${driver}"\n`).join("");
    await writeFile(path.join(folder, "ledgermetrics/driver_test.go"), `package ledgermetrics\n\n${imports}`);
  }
  for (const [name, code] of Object.entries(examples)) {
    await mkdir(path.join(folder, name));
    await writeFile(path.join(folder, name, "example.go"), code);
  }
  return {
    folder,
    environment: { ...offline, GO111MODULE: "off", GOPATH: [gopath, ...libraries].join(path.delimiter) },
  };
}

/** Runs a program. Resolves to what it printed, or rejects with that when it fails. */
export async function run(
  command: string,
  args: string[],
  environment: Record<string, string>,
  cwd = clientFolder,
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, env: { ...process.env, ...environment } });
    return stdout;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`, { cause: error });
  }
}
