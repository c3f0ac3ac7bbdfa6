import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import type { BuildOptions, Plugin } from "esbuild";
import type { ZipAttributes, Zippable } from "fflate";

/** What this plugin uses of Serverless. */
interface Serverless {
  serviceDir: string;
  service: {
    getAllFunctions(): string[];
    getFunction(name: string): { handler: string; package?: object };
  };
}

/**
 * A plugin of Serverless, which otherwise would zip the whole project: it gives each function an archive of its own
 * bundle, in `.serverless`. The same sources give the same bytes.
 */
export default class Archives {
  readonly hooks: Record<string, () => Promise<void>>;

  constructor({ serviceDir, service }: Serverless) {
    const makeArchives = async () => {
      for (const name of service.getAllFunctions()) {
        const configured = service.getFunction(name);
        const archive = `.serverless/${name}.zip`;
        await makeArchive(serviceDir, configured.handler, archive);
        configured.package = { ...configured.package, artifact: archive };
      }
    };
    this.hooks = {
      // Of `package` and `deploy`. A deployment of built archives does not run it.
      "before:package:createDeploymentArtifacts": makeArchives,
    };
  }
}

/**
 * Leaves the parts of prom-client out of the bundle that this service never calls: its Pushgateway class with HTTPS and
 * compression, the metrics of the process, and summaries. They make up most of prom-client's share of a cold start.
 */
const withoutUnusedParts: Plugin = {
  name: "unused-parts-of-prom-client",
  setup(build) {
    build.onLoad({ filter: /[\\/]prom-client[\\/]lib[\\/](pushgateway|defaultMetrics|summary)\.js$/ }, () => ({
      contents: "module.exports = undefined;",
    }));
  },
};

/** How a program becomes a file that needs no package: here, and for the archive of a host. */
export const bundling = {
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  outExtension: { ".js": ".mjs" },
  // Prefers the ES modules of the AWS SDK: CommonJS is larger, and cannot be loaded by name from a file of its own.
  mainFields: ["module", "main"],
  // Packages in CommonJS call require().
  banner: { js: 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);' },
  plugins: [withoutUnusedParts],
} satisfies BuildOptions;

/** The program of people on call, whose own Node may be older. */
export const forPeople = {
  ...bundling,
  entryPoints: ["commands/oncall.ts"],
  target: "node20.19",
  define: { "import.meta.main": "true" },
} satisfies BuildOptions;

/** One small file per function; the AWS SDK and the Postgres driver lie next to it, and are loaded at start. */
const forLambda = {
  ...bundling,
  minify: true,
  // Error names and stack traces need the names of classes and functions.
  keepNames: true,
  sourcemap: "linked",
  sourcesContent: false,
  splitting: true,
  chunkNames: "lib/[name]-[hash]",
} satisfies BuildOptions;

/** A regular file that everybody may read: Lambda runs as another user, whatever the umask here. */
const entry: ZipAttributes = { os: 3, attrs: 0o100644 << 16, mtime: new Date(1980, 0, 1) };

/** Bundles the module of a handler, such as `handlers/sampler.handler`, and writes it into a zip file. */
async function makeArchive(project: string, handler: string, archive: string): Promise<void> {
  // Loaded only here: a deployment of built archives has AWS' credentials, and needs neither.
  const { build } = await import("esbuild");
  const { zipSync } = await import("fflate");
  const { dir, name } = path.parse(handler);
  const { outputFiles } = await build({
    ...forLambda,
    absWorkingDir: project,
    entryPoints: [`${dir}/${name}.ts`],
    outdir: dir,
    write: false,
  });
  const files: Zippable = {};
  for (const output of outputFiles) files[path.relative(project, output.path)] = [output.contents, entry];
  await mkdir(path.dirname(path.join(project, archive)), { recursive: true });
  await writeFile(path.join(project, archive), zipSync(files));
}
