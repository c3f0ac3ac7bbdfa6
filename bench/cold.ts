import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { type BuildOptions, build } from "esbuild";

// npm run bench:cold: how long Node takes from process start to a loaded handler, as medians.
const runs = 31;
const run = promisify(execFile);
const project = path.join(import.meta.dirname, "..");
const folder = await mkdtemp(path.join(tmpdir(), "veza-bench-"));

/** The bundler's options, as serverless.yml says. */
async function bundlerOptions(): Promise<BuildOptions> {
  const { stdout } = await run("npx", ["serverless", "print", "--path", "custom.esbuild", "--format", "json"], {
    cwd: project,
  });
  const { exclude: _, outputFileExtension, plugins, ...options } = JSON.parse(stdout);
  const load = createRequire(path.join(project, "package.json"));
  return { ...options, outExtension: { ".js": outputFileExtension }, plugins: load(`./${plugins}`) };
}

/** Bundles an entry file that holds `contents`, with paths from the project's top folder. */
async function bundle(options: BuildOptions, name: string, contents: string): Promise<string> {
  const outdir = path.join(folder, name);
  const entry = { contents, resolveDir: project, loader: "ts", sourcefile: "handler.ts" } as const;
  await build({ ...options, stdin: entry, platform: "node", outdir, entryNames: "handler", logLevel: "error" });
  return path.join(outdir, "handler.mjs");
}

async function loadMs(file: string, flags: string[]): Promise<number> {
  const { stdout } = await run(process.execPath, [...flags, path.join(folder, "load.mjs"), file]);
  return Number(stdout);
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

try {
  const bare = path.join(folder, "bare.mjs");
  await writeFile(bare, "export const handler = async () => {};");
  await writeFile(
    path.join(folder, "load.mjs"),
    "await import(process.argv[2]); process.stdout.write(String(performance.now())); process.exit();",
  );
  const options = await bundlerOptions();
  const sampler = await bundle(options, "sampler", `export { handler } from "./handlers/sampler.ts";`);
  const receiver = await bundle(options, "receiver", `export { handler } from "./handlers/receiver.ts";`);
  const eager = await bundle(
    options,
    "eager",
    `export * as sdk from "@aws-sdk/client-secrets-manager"; export { handler } from "./handlers/sampler.ts";`,
  );
  const maps = ["--enable-source-maps"];
  const variants = [
    { name: "bare handler", file: bare, flags: [] },
    { name: "sampler", file: sampler, flags: [] },
    { name: "receiver", file: receiver, flags: [] },
    { name: "sampler, source maps enabled", file: sampler, flags: maps },
    { name: "receiver, source maps enabled", file: receiver, flags: maps },
    { name: "sampler, AWS SDK loaded eagerly", file: eager, flags: [] },
  ];
  const times = variants.map((): number[] => []);
  // One run of each in turn, so that whatever else the machine does falls on all of them alike. The first turn warms up.
  for (let turn = 0; turn <= runs; turn += 1) {
    for (const [index, { file, flags }] of variants.entries()) {
      const ms = await loadMs(file, flags);
      if (turn > 0) times[index]?.push(ms);
    }
  }
  const bareMs = median(times[0] ?? []);
  console.log(`process start to handler loaded, medians of ${runs} runs, Node ${process.version}, ${process.arch}`);
  for (const [index, { name }] of variants.entries()) {
    const ms = median(times[index] ?? []);
    console.log(`${name.padEnd(34)}${ms.toFixed(1).padStart(7)} ms ${(ms / bareMs).toFixed(2).padStart(6)} x bare`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
