import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { findOnPath } from "../../local/find-on-path.ts";
import { projectFolder } from "./processes.ts";

/** Where Debian's packages of Go libraries put their sources. */
const debianSources = "/usr/share/gocode";
const importPath = "github.com/veza/veza-ledger-metrics/clients/go";

export const goIsHere = (await findOnPath(["go"])) !== undefined;
export const driverIsHere = existsSync(path.join(debianSources, "src/github.com/lib/pq"));

const clientFolder = path.join(projectFolder, "clients/go");
export const testPackage = `${importPath}/test`;

/** Nothing is downloaded: no module, no newer Go. No compiler for C is needed, and no access to the Git repository. */
const offline = { GOFLAGS: "-buildvcs=false", GOPROXY: "off", GOTOOLCHAIN: "local", GOWORK: "off", CGO_ENABLED: "0" };
export const withModules = { ...offline, GO111MODULE: "on" };

/** A GOPATH in which the client and Debian's libraries find each other, without a module proxy. */
export async function makeGopath() {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-gopath-"));
  const link = path.join(folder, "src", importPath);
  await mkdir(path.dirname(link), { recursive: true });
  await symlink(clientFolder, link);
  return {
    folder,
    environment: { ...offline, GO111MODULE: "off", GOPATH: `${folder}:${debianSources}` },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Runs a program of Go's. Resolves to what it printed, or rejects with that when it fails. */
export async function run(
  command: "go" | "gofmt",
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
