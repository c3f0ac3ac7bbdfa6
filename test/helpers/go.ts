import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { findOnPath } from "../../local/find-on-path.ts";
import { projectFolder } from "./processes.ts";

/** Where Debian's packages of Go libraries put their sources. */
const debianSources = "/usr/share/gocode";
export const modulePath = "github.com/veza/veza-ledger-metrics/clients/go";
const drivers = ["github.com/lib/pq", "github.com/jackc/pgx/v4/stdlib"];

/** Debian's name of it, and its own. */
const staticcheck = await findOnPath(["go-staticcheck", "staticcheck"]);
export const goIsHere = (await findOnPath(["go"])) !== undefined;
export const driversAreHere = drivers.every((driver) => existsSync(path.join(debianSources, "src", driver)));
export const staticcheckIsHere = staticcheck !== undefined;
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
 * A copy of the client in a GOPATH where it finds Debian's libraries, without a module proxy. Its tests have drivers
 * there: `postgres` and `pgx`.
 */
export async function makeGopath() {
  const gopath = await mkdtemp(path.join(tmpdir(), "veza-gopath-"));
  const folder = path.join(gopath, "src", modulePath);
  await cp(clientFolder, folder, { recursive: true });
  const imports = drivers.map((driver) => `import _ "${driver}"\n`).join("");
  await writeFile(path.join(folder, "ledgermetrics/driver_test.go"), `package ledgermetrics\n\n${imports}`);
  return {
    folder,
    environment: { ...offline, GO111MODULE: "off", GOPATH: `${gopath}:${debianSources}` },
    remove: () => rm(gopath, { recursive: true, force: true }),
  };
}

/** Runs a program of Go's. Resolves to what it printed, or rejects with that when it fails. */
export async function run(
  command: "go" | "gofmt" | "staticcheck",
  args: string[],
  environment: Record<string, string>,
  cwd = clientFolder,
): Promise<string> {
  const file = command === "staticcheck" ? (staticcheck ?? command) : command;
  try {
    const { stdout } = await promisify(execFile)(file, args, { cwd, env: { ...process.env, ...environment } });
    return stdout;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`, { cause: error });
  }
}
