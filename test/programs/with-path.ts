import { execFile, spawnSync } from "node:child_process";
import { readFile, realpath } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { findOnPath } from "../../local/find-on-path.ts";
import { findProgram, type ProgramName } from "../helpers/find-program.ts";
import { pgx, sourcesOf } from "../helpers/go.ts";
import { recordTried } from "../helpers/tried.ts";

// npm run test:programs [-- test files …]: what depends on Prometheus, Alertmanager, Pushgateway, VictoriaMetrics and
// Go, on the versions that the PATH has. A whole run that passes writes its versions into docs/local.md.
const tests = ["test/alerts/", "test/go/", "test/totals/exposition.test.ts", "test/totals/pushgateway.test.ts"];

/** The version that a file of a Debian package has, by its changelog. */
async function debianVersion(file: string, debianPackage: string): Promise<string | undefined> {
  const [prefix = ""] = (await realpath(file)).split(/(?<=\/)(?:bin|share)\//);
  const changelog = path.join(prefix, "share/doc", debianPackage, "changelog.Debian.gz");
  const text = await readFile(changelog).then(
    (packed) => String(gunzipSync(packed)),
    () => "",
  );
  return /\(([\d.]+)/.exec(text)?.[1];
}

/** The version that a program says, or the version of its package where a build says none. */
async function versionOf(file: string, debianPackage = "", args = ["--version"]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)(file, args).catch((error) => error);
  const said = /\b(?:version|go)[ v]*(\d[\d.]+\d)/.exec(`${stdout}${stderr}`)?.[1];
  return said ?? (await debianVersion(file, debianPackage)) ?? "unknown";
}

const versions: Record<string, string> = {};
for (const [title, name, debianPackage] of [
  ["Alertmanager", "alertmanager"],
  ["Prometheus", "prometheus"],
  ["promtool", "promtool"],
  ["Pushgateway", "pushgateway"],
  ["VictoriaMetrics", "victoria-metrics", "victoria-metrics"],
  ["vmalert", "vmalert", "victoria-metrics"],
] as [string, ProgramName, string?][]) {
  const { file } = await findProgram(name);
  versions[title] = await versionOf(file, debianPackage);
  console.log(`${title} ${versions[title]} (${file})`);
}
const go = await findOnPath(["go"]);
if (go) versions.Go = await versionOf(go, "", ["version"]);
for (const [title, library, name] of [
  ["lib/pq", "github.com/lib/pq", "lib-pq"],
  ["pgx", `github.com/jackc/${pgx}`, `jackc-${pgx.replace("/", "-")}`],
] as const) {
  const sources = sourcesOf(library);
  if (sources) versions[title] = (await debianVersion(sources, `golang-github-${name}-dev`)) ?? "unknown";
}
console.log(`Go ${versions.Go}, lib/pq ${versions["lib/pq"]}, pgx ${versions.pgx}`);

const wanted = process.argv.slice(2);
const env = { ...process.env, CI: "1" }; // With VictoriaMetrics' unit tests.
const { status } = spawnSync("vitest", ["run", ...(wanted.length > 0 ? wanted : tests)], { stdio: "inherit", env });
process.exitCode = status ?? 1;
if (status === 0 && wanted.length === 0) await recordTried(versions);
