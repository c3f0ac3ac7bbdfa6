import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findBy, sources } from "./find-program.ts";
import { freePort } from "./ports.ts";
import { supervise } from "./supervise.ts";

const project = path.join(import.meta.dirname, "..");
const startTimeoutMs = 60_000;

/** A program that runs in the background. */
export interface Running {
  url: string;
  pid: number;
  /** Ends it by its process id, and deletes its data. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a real Pushgateway on 127.0.0.1, from `preferredPort` on, and waits until it is ready. It keeps its groups in
 * no file.
 */
export async function startPushgateway(preferredPort: number, signal?: AbortSignal): Promise<Running> {
  const { file, root } = await findBy(sources.pushgateway, signal);
  const port = await freePort(preferredPort);
  const assets = root ? [`--web.local-assets=${root}/usr/share/prometheus/pushgateway`] : [];
  const args = [`--web.listen-address=127.0.0.1:${port}`, "--persistence.file=", ...assets];
  return startServer(file, args, `http://127.0.0.1:${port}`, "/-/ready", { signal });
}

/**
 * Starts a real Prometheus on 127.0.0.1, from `preferredPort` on, by the example configuration in config/prometheus. It
 * scrapes this Pushgateway and evaluates these rules (YAML) once every `interval`, such as `15s`. The Alertmanager at
 * `alertmanagerUrl` gets its alerts; without one, nobody does, since the usual port may be of one that pages people.
 */
export async function startPrometheus(
  preferredPort: number,
  {
    pushgatewayUrl,
    rules,
    interval,
    alertmanagerUrl,
  }: { pushgatewayUrl: string; rules: string; interval: string; alertmanagerUrl?: string },
  signal?: AbortSignal,
): Promise<Running> {
  const { file, root } = await findBy(sources.prometheus, signal);
  const port = await freePort(preferredPort);
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-prometheus-"));
  const example = await readFile(path.join(project, "config/prometheus/prometheus.yml"), "utf8");
  const configuration = example
    .replace("../alertmanager/ledger.yml", "ledger.yml")
    .replace("127.0.0.1:9091", new URL(pushgatewayUrl).host)
    .replaceAll("[127.0.0.1:9093]", alertmanagerUrl ? `[${new URL(alertmanagerUrl).host}]` : "[]")
    .replace("127.0.0.1:9090", `127.0.0.1:${port}`)
    .replaceAll(/_interval: .*/g, `_interval: ${interval}`);
  await writeFile(path.join(folder, "prometheus.yml"), configuration);
  await writeFile(path.join(folder, "ledger.yml"), rules);
  const args = [
    `--web.listen-address=127.0.0.1:${port}`,
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    "--rules.alert.for-grace-period=1m",
    ...(root ? [`--web.local-assets=${root}/usr/share/prometheus/web`] : []),
  ];
  return startServer(file, args, `http://127.0.0.1:${port}`, "/-/ready", { folder, signal });
}

/** Starts a server, and waits until it answers 200 to its readiness path. `folder` is deleted when it has ended. */
export async function startServer(
  file: string,
  args: string[],
  url: string,
  readinessPath: string,
  { folder = "", signal }: { folder?: string; signal?: AbortSignal | undefined },
): Promise<Running> {
  const program = await supervise(file, args, { folder });
  const until = Date.now() + startTimeoutMs;
  while (Date.now() < until && program.exitCode() === undefined) {
    const ready = await fetch(url + readinessPath, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
    if (ready?.ok) return { url, pid: program.pid, stop: (endSignal) => program.end(endSignal) };
    if (signal?.aborted) break;
    await sleep(50);
  }
  await program.end("SIGKILL");
  signal?.throwIfAborted();
  throw new Error(`${path.basename(file)} did not start:\n${program.output()}`);
}
