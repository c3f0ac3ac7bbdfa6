import { execFile, spawn } from "node:child_process";
import { access, constants, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "./ports.ts";

const run = promisify(execFile);
const project = path.join(import.meta.dirname, "..");
const cacheFolder = path.join(project, ".cache");

/** The programs by the name of the Debian package that has them; `names` are tried on the PATH. */
const programs = {
  "prometheus-pushgateway": { names: ["prometheus-pushgateway", "pushgateway"], otherwise: "set PUSHGATEWAY_URL" },
  prometheus: { names: ["prometheus"], otherwise: "do without" },
  promtool: { names: ["promtool"], otherwise: "do without" },
  "prometheus-alertmanager": { names: ["amtool"], otherwise: "do without" },
  "prometheus-sql-exporter": { names: ["prometheus-sql-exporter"], otherwise: "do without" },
};

/** A program that runs in the background. */
export interface Running {
  url: string;
  pid: number;
  /** Ends it by its process id, and deletes its data. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a real Pushgateway without persistence on 127.0.0.1, from `preferredPort` on, and waits until it is ready. */
export async function startPushgateway(preferredPort: number): Promise<Running> {
  const { file, root } = await findProgram("prometheus-pushgateway");
  const port = await freePort(preferredPort);
  const assets = root ? [`--web.local-assets=${root}/usr/share/prometheus/pushgateway`] : [];
  const args = [`--web.listen-address=127.0.0.1:${port}`, "--persistence.file=", ...assets];
  return start(file, args, `http://127.0.0.1:${port}`, "/-/ready");
}

/**
 * Starts a real Prometheus on 127.0.0.1, from `preferredPort` on, that scrapes this Pushgateway and evaluates these rules,
 * by the example configuration in config/prometheus. `interval` is that of both, such as `15s`.
 */
export async function startPrometheus(
  preferredPort: number,
  { pushgatewayUrl, rulesFile, interval }: { pushgatewayUrl: string; rulesFile: string; interval: string },
): Promise<Running> {
  const { file, root } = await findProgram("prometheus");
  const port = await freePort(preferredPort);
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-prometheus-"));
  const example = await readFile(path.join(project, "config/prometheus/prometheus.yml"), "utf8");
  const configuration = example
    .replace("../alertmanager/ledger.yml", rulesFile)
    .replace("127.0.0.1:9091", new URL(pushgatewayUrl).host)
    .replaceAll(/_interval: .*/g, `_interval: ${interval}`);
  await writeFile(path.join(folder, "prometheus.yml"), configuration);
  const args = [
    `--web.listen-address=127.0.0.1:${port}`,
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    ...(root ? [`--web.local-assets=${root}/usr/share/prometheus/web`] : []),
  ];
  return start(file, args, `http://127.0.0.1:${port}`, "/-/ready", folder);
}

/**
 * Starts Debian's SQL exporter on 127.0.0.1, from `preferredPort` on. By itself it asks the queries one after the other on
 * one connection, waits for `interval`, such as `1m`, and begins again; a scrape asks nothing and gets the last answers,
 * one series for each column in `values`.
 */
export async function startSqlExporter(
  preferredPort: number,
  job: {
    databaseUrl: string;
    interval: string;
    queries: { name: string; help: string; query: string; values: string[] }[];
  },
): Promise<Running> {
  const { file } = await findProgram("prometheus-sql-exporter");
  const port = await freePort(preferredPort);
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-sql-exporter-"));
  const { databaseUrl, interval, queries } = job;
  const jobs = [{ name: "ledger", interval, connections: [databaseUrl], queries }];
  await writeFile(path.join(folder, "exporter.yml"), JSON.stringify({ jobs })); // JSON is YAML.
  const args = [`--web.listen-address=127.0.0.1:${port}`, `--config.file=${folder}/exporter.yml`];
  const asDebianRunsIt = { GOGC: "40", GOMAXPROCS: "4", LOGLEVEL: "WARN" };
  return start(file, args, `http://127.0.0.1:${port}`, "/metrics", folder, asDebianRunsIt);
}

/**
 * Starts Grafana on 127.0.0.1 with the project's dashboard, where `grafana-server` or `grafana` is on the PATH; otherwise
 * resolves to undefined. Anybody may look at it, without a log-in.
 */
export async function startGrafana(preferredPort: number, prometheusUrl: string): Promise<Running | undefined> {
  const file = await findOnPath(["grafana-server", "grafana"]);
  if (!file) return undefined;
  const port = await freePort(preferredPort);
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-grafana-"));
  const environment = {
    PROMETHEUS_URL: prometheusUrl,
    VEZA_DASHBOARDS: path.join(project, "config/grafana"),
    GF_PATHS_PROVISIONING: path.join(project, "config/grafana/provisioning"),
    GF_PATHS_DATA: folder,
    GF_SERVER_HTTP_ADDR: "127.0.0.1",
    GF_SERVER_HTTP_PORT: String(port),
    GF_AUTH_ANONYMOUS_ENABLED: "true",
    GF_ANALYTICS_REPORTING_ENABLED: "false",
    GF_ANALYTICS_CHECK_FOR_UPDATES: "false",
  };
  const args = path.basename(file) === "grafana" ? ["server"] : [];
  return start(file, args, `http://127.0.0.1:${port}`, "/api/health", folder, environment);
}

/**
 * Finds a program: on the PATH; else, on Debian and Ubuntu, in its package, which is unpacked into `.cache` without
 * installing it (`root` is that folder). Throws an error that says what to do.
 */
export async function findProgram(debianPackage: keyof typeof programs): Promise<{ file: string; root?: string }> {
  const { names, otherwise } = programs[debianPackage];
  const onPath = await findOnPath(names);
  if (onPath) return { file: onPath };
  const root = path.join(cacheFolder, debianPackage);
  const unpacked = { file: path.join(root, "usr/bin", names[0] ?? ""), root };
  if (await isExecutable(unpacked.file)) return unpacked;
  try {
    await unpackDebianPackage(debianPackage, root);
    return unpacked;
  } catch (cause) {
    throw new Error(`${names.at(-1)} was not found. Install it so that it is on the PATH, or ${otherwise}.`, { cause });
  }
}

async function findOnPath(names: string[]): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    for (const name of names) {
      if (await isExecutable(path.join(folder, name))) return path.join(folder, name);
    }
  }
  return undefined;
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

/** Starts a program, and waits until it answers 200 to its readiness path. `dataFolder` is deleted when it is stopped. */
async function start(
  file: string,
  args: string[],
  url: string,
  readinessPath: string,
  dataFolder?: string,
  environment: Record<string, string> = {},
): Promise<Running> {
  const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...environment } });
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
    url,
    pid: child.pid ?? 0,
    async stop(signal: NodeJS.Signals = "SIGTERM") {
      child.kill(signal);
      await exited;
      process.off("exit", killNow);
      if (dataFolder) await rm(dataFolder, { recursive: true, force: true });
    },
  };
  for (const until = Date.now() + 20_000; Date.now() < until && child.exitCode === null; await sleep(50)) {
    const ready = await fetch(url + readinessPath).catch(() => undefined);
    if (ready?.ok) return running;
  }
  await running.stop("SIGKILL");
  throw new Error(`${path.basename(file)} did not start:\n${output}`);
}
