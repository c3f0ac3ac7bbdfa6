import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { type BuildOptions, build } from "esbuild";
import { signedHeaders } from "../commands/deliver.ts";
import { demoSecret } from "../commands/demo-receiver.ts";
import { createDemoLedger } from "../local/demo-ledger.ts";
import { startPostgres } from "../local/postgres.ts";
import { startPushgateway } from "../local/programs.ts";
import { supervise } from "../local/supervise.ts";

// npm run bench:cold: how long Node takes from process start to a loaded handler, and how long the first invocation
// takes. Lambda throttles a function only after its start, which is measured and not documented, so the start runs at
// full speed. For the invocation, the process moves to a processor where six other processes count: a seventh of it,
// as a function of 256 MB has. Linux only: it uses taskset.
const runs = 21;
const busyProcesses = 6;
const run = promisify(execFile);
const project = path.join(import.meta.dirname, "..");
const folder = await mkdtemp(path.join(tmpdir(), "veza-bench-"));
/** Process ids of the others; they run during invocations only. */
const busy: number[] = [];
const stops: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })];

/** The bundler's options, as serverless.yml says. */
async function bundlerOptions(): Promise<BuildOptions> {
  const { stdout } = await run("npx", ["serverless", "print", "--path", "custom.esbuild", "--format", "json"], {
    cwd: project,
  });
  const { exclude: _, outputFileExtension, plugins, ...options } = JSON.parse(stdout);
  const load = createRequire(path.join(project, "package.json"));
  const loaded = plugins && { plugins: load(`./${plugins}`).default };
  return { ...options, ...loaded, outExtension: { ".js": outputFileExtension } };
}

/** Bundles one of the handlers. */
async function bundle(options: BuildOptions, name: string): Promise<string> {
  const outdir = path.join(folder, name);
  const entryPoints = { handler: path.join(project, `handlers/${name}.ts`) };
  await build({ ...options, entryPoints, absWorkingDir: project, platform: "node", outdir, logLevel: "error" });
  return path.join(outdir, "handler.mjs");
}

/** Stands in for Secrets Manager: the same answer to every request. Left out: TLS, signatures, distance. */
async function startSecretsManager(secret: object): Promise<string> {
  const answer = JSON.stringify({ SecretString: JSON.stringify(secret) });
  const server = http.createServer((_, response) => {
    response.setHeader("content-type", "application/x-amz-json-1.1").end(answer);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Loads the handler that argv names, waits for an event, calls the handler, and prints how long each took. */
const program = `
  import { createInterface } from "node:readline";
  const { handler } = await import(process.argv[2]);
  console.log(performance.now());
  for await (const line of createInterface({ input: process.stdin })) {
    const startedAt = performance.now();
    const before = process.cpuUsage();
    const result = await handler(JSON.parse(line), {});
    const { user, system } = process.cpuUsage(before);
    console.log(performance.now() - startedAt, (user + system) / 1000, JSON.stringify(result ?? null));
    process.exit();
  }`;

/** Resolves to how long start and first invocation took, and to the latter's CPU time, in ms. */
async function coldStart(file: string, flags: string[], event: object, env: NodeJS.ProcessEnv): Promise<number[]> {
  for (const pid of busy) process.kill(pid, "SIGSTOP");
  const child = spawn(process.execPath, [...flags, path.join(folder, "program.mjs"), file], {
    env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const printed = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    for (;;) {
      const { value } = await printed.next();
      if (value === undefined) throw new Error(`${file} has ended`);
      if (/^\d/.test(value)) return value;
      if (/"(warn|error)"/.test(value)) throw new Error(value);
    }
  };
  const startMs = Number(await next());
  await run("taskset", ["-a", "-p", "-c", "0", String(child.pid)]);
  for (const pid of busy) process.kill(pid, "SIGCONT");
  child.stdin.end(`${JSON.stringify(event)}\n`);
  const [, ms, cpuMs, result = ""] = /^(\S+) (\S+) (.*)/.exec(await next()) ?? [];
  if (/"statusCode":[345]/.test(result)) throw new Error(result);
  return [startMs, Number(ms), Number(cpuMs)];
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

try {
  const server = await startPostgres(0);
  stops.push(() => server.stop());
  await createDemoLedger(server.superuserUrl);
  const gateway = await startPushgateway(0);
  stops.push(() => gateway.stop());
  const url = await startSecretsManager({
    DATABASE_URL: server.superuserUrl.replace("postgres:postgres@", "veza_ledger:local@"),
    PUSHGATEWAY_URL: gateway.url,
    WEBHOOK_SECRET: demoSecret,
  });
  const aws = { AWS_REGION: "x", AWS_ACCESS_KEY_ID: "x", AWS_SECRET_ACCESS_KEY: "x", AWS_LAMBDA_FUNCTION_NAME: "x" };
  const env = { PATH: process.env.PATH, SECRET_ID: "x", AWS_ENDPOINT_URL: url, ...aws };
  const delivery = () => {
    const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });
    const headers = signedHeaders(demoSecret, `msg_${Math.random()}`.replace(".", ""), new Date(), body);
    return { headers, body, requestContext: { http: { method: "POST" } } };
  };

  const bare = path.join(folder, "bare.mjs");
  await writeFile(bare, "export const handler = async () => {};");
  await writeFile(path.join(folder, "program.mjs"), program);
  const options = await bundlerOptions();
  const [sampler, receiver] = [await bundle(options, "sampler"), await bundle(options, "receiver")];
  const maps = ["--enable-source-maps"];
  const variants = [
    { name: "bare handler", file: bare, flags: [] },
    { name: "sampler", file: sampler, flags: [] },
    { name: "receiver", file: receiver, flags: [] },
    { name: "sampler, source maps enabled", file: sampler, flags: maps },
    { name: "receiver, source maps enabled", file: receiver, flags: maps },
  ];
  for (let index = 0; index < busyProcesses; index += 1) {
    const program = await supervise("taskset", ["-c", "0", process.execPath, "-e", "for (;;);"], {
      folder,
      keepsFolder: true, // Deleted also when this process is killed.
    });
    busy.push(program.pid);
    stops.push(() => program.end("SIGKILL"));
  }
  const times = variants.map((): number[][] => []);
  // One run of each in turn, so that other load on the machine falls on all of them alike. The first turn warms up.
  for (let turn = 0; turn <= runs; turn += 1) {
    for (const [index, { file, flags }] of variants.entries()) {
      const measured = await coldStart(file, flags, delivery(), env);
      if (turn > 0) times[index]?.push(measured);
    }
  }
  const mediansOf = (index: number) =>
    [0, 1, 2].map((part) => median((times[index] ?? []).map((run) => run[part] ?? 0)));
  const [bareMs = 0] = mediansOf(0);
  console.log(`medians of ${runs} runs, Node ${process.version}, ${process.arch}`);
  console.log(`${"".padEnd(32)}start, ms   x bare   first invocation, CPU ms   at 1/7 of a CPU, ms`);
  for (const [index, { name }] of variants.entries()) {
    const [startMs = 0, invocationMs = 0, cpuMs = 0] = mediansOf(index);
    const cells = [startMs.toFixed(1).padStart(9), (startMs / bareMs).toFixed(2).padStart(8)];
    cells.push(cpuMs.toFixed(0).padStart(24), invocationMs.toFixed(0).padStart(21));
    console.log(name.padEnd(32) + cells.join(" "));
  }
} finally {
  for (const stop of stops.toReversed()) await stop();
}
