import { access, constants, mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { hasDebianPackages, unpackDebianPackage } from "./debian-package.ts";
import { findOnPath, isExecutable } from "./find-on-path.ts";
import { type Release, releaseName, unpackRelease } from "./release-archive.ts";

interface Source {
  /** What the program is called on the PATH. */
  names: string[];
  /** The Debian package that has it, in /usr/bin. */
  debianPackage: string;
  release?: Release;
  /** What else to do, for whoever cannot have it. */
  otherwise: string;
}

/** From a public package recipe; whatever is not named here is checked against the release's own sha256sums.txt. */
const pushgatewayRelease: Release = {
  project: "pushgateway",
  version: "1.11.1",
  sha256: {
    "linux-amd64": "6ce6ffab84d0d71195036326640295c02165462abd12b8092b0fa93188f5ee37",
    "linux-arm64": "b6dc1c1c46d1137e5eda253f6291247e39330d3065a839857b947e59b4f3e64b",
  },
};
const prometheusRelease: Release = {
  project: "prometheus",
  version: "3.7.1",
  sha256: {
    "linux-amd64": "a2e8a89c09b14b2277e6151e87fc8ed18858486cbf89372656d71fcd666b51da",
    "linux-arm64": "7ede3f3f0541b9bfd2ccca9cef57af80554f131b8e7af8900896c6e49ed2d4ef",
  },
};
const alertmanagerRelease: Release = {
  project: "alertmanager",
  version: "0.28.1",
  sha256: {
    "linux-amd64": "5ac7ab5e4b8ee5ce4d8fb0988f9cb275efcc3f181b4b408179fafee121693311",
    "linux-arm64": "d8832540e5b9f613d2fd759e31d603173b9c61cc7bb5e3bc7ae2f12038b1ce4f",
  },
};

const sources = {
  pushgateway: {
    names: ["pushgateway", "prometheus-pushgateway"],
    debianPackage: "prometheus-pushgateway",
    release: pushgatewayRelease,
    otherwise: "set PUSHGATEWAY_URL",
  },
  prometheus: {
    names: ["prometheus"],
    debianPackage: "prometheus",
    release: prometheusRelease,
    otherwise: "do without alerts and graphs",
  },
  promtool: {
    names: ["promtool"],
    debianPackage: "promtool",
    release: prometheusRelease,
    otherwise: "do without the tests of the alerts",
  },
  amtool: {
    names: ["amtool"],
    debianPackage: "prometheus-alertmanager",
    release: alertmanagerRelease,
    otherwise: "do without the tests of the routes",
  },
  "prometheus-sql-exporter": {
    names: ["prometheus-sql-exporter"],
    debianPackage: "prometheus-sql-exporter",
    otherwise: "do without the comparison",
  },
  "victoria-metrics": {
    names: ["victoria-metrics", "victoria-metrics-prod"],
    debianPackage: "victoria-metrics",
    otherwise: "do without the tests on VictoriaMetrics",
  },
  vmalert: {
    names: ["vmalert", "vmalert-prod"],
    debianPackage: "victoria-metrics",
    otherwise: "do without the tests on VictoriaMetrics",
  },
  "vmalert-tool": {
    names: ["vmalert-tool", "vmalert-tool-prod"],
    debianPackage: "victoria-metrics",
    otherwise: "do without the tests on VictoriaMetrics",
  },
} satisfies Record<string, Source>;

export type ProgramName = keyof typeof sources;

export interface FoundProgram {
  file: string;
  /** The folder that a Debian package was unpacked into, in which its other files are. */
  root?: string;
}

/**
 * Finds a program: on the PATH, else in a cache folder, else in Debian's package, else in the project's own release. The
 * last two are fetched into the cache, and nothing is installed; a line on standard error says what is being done.
 *
 * Throws an Error that names every way that was tried and why it failed, or the reason of `signal` when it aborts.
 */
export async function findProgram(name: ProgramName, signal?: AbortSignal): Promise<FoundProgram> {
  const { names, debianPackage, release, otherwise }: Source = sources[name];
  const onPath = await findOnPath(names);
  if (onPath) return { file: onPath };
  const tried = [`on the PATH: no ${names.join(" or ")}`];

  const debianProgram = (cache: string) => {
    const root = path.join(cache, debianPackage);
    return { file: path.join(root, "usr/bin", name === "pushgateway" ? debianPackage : name), root };
  };
  const releaseProgram = (cache: string) => ({ file: path.join(cache, releaseName(release as Release), name) });
  const places = release ? [debianProgram, releaseProgram] : [debianProgram];
  for (const cache of cacheFolders()) {
    for (const place of places) {
      const program = place(cache);
      if (await isExecutable(program.file)) return program;
    }
  }

  const ways: [string, () => Promise<FoundProgram>][] = [
    [
      `Debian's package ${debianPackage}`,
      async () => {
        if (!(await hasDebianPackages())) throw new Error("there is no apt-get and dpkg here");
        const program = debianProgram(await writableCache());
        await unpackDebianPackage(debianPackage, program.root, signal);
        return program;
      },
    ],
  ];
  if (release) {
    ways.push([
      `its release ${releaseName(release)}`,
      async () => {
        const program = releaseProgram(await writableCache());
        await unpackRelease(release, path.dirname(program.file), signal);
        return program;
      },
    ]);
  }
  for (const [way, fetchProgram] of ways) {
    try {
      const program = await fetchProgram();
      if (await isExecutable(program.file)) return program;
      tried.push(`${way}: has no program ${path.basename(program.file)}`);
    } catch (error) {
      signal?.throwIfAborted();
      tried.push(`${way}: ${(error as Error).message}`);
    }
  }
  throw new Error(
    `${name} was not found. Install it so that it is on the PATH, or ${otherwise}. Tried:\n${tried.map((line) => `  ${line}`).join("\n")}`,
  );
}

/** Where fetched programs are kept: beside the sources, or, where those may not be written to, in the user's own cache. */
function cacheFolders(): string[] {
  const ofUser = process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache");
  return [path.join(import.meta.dirname, "..", ".cache"), path.join(ofUser, "veza-ledger-metrics")];
}

async function writableCache(): Promise<string> {
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
