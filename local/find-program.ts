import { existsSync } from "node:fs";
import { access, constants, mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { hasDebianPackages, unpackDebianPackage } from "./debian-package.ts";
import { findOnPath, isExecutable } from "./find-on-path.ts";

/** How a program can be had. */
export interface Source {
  /** What the program is called on the PATH. */
  names: string[];
  /** The Debian packages that may have it, and where, if not in /usr/bin under the first name. */
  debianPackages: string[];
  debianFile?: string;
  /** Where else to get it. */
  elsewhere: string;
  /** What to do without it. */
  otherwise: string;
}

/** The programs that the demo starts, and promtool, which tests and measurements run. */
export const sources = {
  pushgateway: {
    names: ["pushgateway", "prometheus-pushgateway"],
    debianPackages: ["prometheus-pushgateway"],
    debianFile: "usr/bin/prometheus-pushgateway",
    elsewhere: "https://prometheus.io/download/#pushgateway",
    otherwise: "do without npm start",
  },
  prometheus: {
    names: ["prometheus"],
    debianPackages: ["prometheus"],
    elsewhere: "brew install prometheus, or https://prometheus.io/download",
    otherwise: "do without alerts and graphs",
  },
  promtool: {
    names: ["promtool"],
    debianPackages: ["prometheus", "promtool"], // Its own since Debian 13.
    elsewhere: "brew install prometheus, or https://prometheus.io/download",
    otherwise: "do without the tests of the alerts",
  },
} satisfies Record<string, Source>;

export interface FoundProgram {
  file: string;
  /** The folder that holds the other files of a Debian package. */
  root?: string;
}

/**
 * Finds a program: on the PATH, else in a cache folder, else in Debian's packages. A package is unpacked into the
 * cache, and not installed; a line on standard error says so.
 *
 * Throws an Error that says why the program could not be fetched and where to get it, or the reason of `signal`.
 */
export async function findBy(source: Source, signal?: AbortSignal): Promise<FoundProgram> {
  const { names, debianPackages, elsewhere, otherwise } = source;
  const [name = ""] = names;
  const onPath = await findOnPath(names);
  if (onPath) return { file: onPath };

  const unpacked = (cache: string, debianPackage: string) => {
    const root = path.join(cache, debianPackage);
    return { file: path.join(root, source.debianFile ?? `usr/bin/${name}`), root };
  };
  for (const cache of cacheFolders()) {
    for (const debianPackage of debianPackages) {
      const program = unpacked(cache, debianPackage);
      if (await isExecutable(program.file)) return program;
    }
  }
  try {
    if (!(await hasDebianPackages())) throw new Error("there is no apt-get and dpkg here");
    const cache = await writableCache();
    for (const debianPackage of debianPackages) {
      const program = unpacked(cache, debianPackage);
      if (!existsSync(program.root)) await unpackDebianPackage(debianPackage, program.root, signal);
      if (await isExecutable(program.file)) return program;
    }
    throw new Error(`it has no program ${path.basename(source.debianFile ?? name)}`);
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(
      `${name} was not found. The PATH has no ${names.join(" or ")}, and Debian's package ${debianPackages.at(-1)} ` +
        `could not be fetched: ${(error as Error).message}. Put it on the PATH (${elsewhere}), or ${otherwise}.`,
      { cause: error },
    );
  }
}

/** Where fetched programs are kept: next to the sources, or in the user's own cache where the sources are read-only. */
function cacheFolders(): string[] {
  const ofUser = process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache");
  return [path.join(import.meta.dirname, "..", ".cache"), path.join(ofUser, "veza-ledger-metrics")];
}

/** Resolves to the folder in which fetched programs are kept here. Throws where there is no place for them. */
export async function writableCache(): Promise<string> {
  const folders = cacheFolders();
  for (const folder of folders) {
    try {
      await mkdir(folder, { recursive: true, mode: 0o755 });
      await access(folder, constants.W_OK);
      return folder;
    } catch {} // The next one may do.
  }
  throw new Error(`there is no place for it: ${folders.join(" and ")} cannot be written to; set XDG_CACHE_HOME`);
}
