// ./setup servers, on stand-ins for apt and systemd, and what docs/servers-in-use.md adds by hand.
import { chmod, cp, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { dump, load } from "js-yaml";
import { describe, expect, it } from "vitest";
import { findProgram } from "../helpers/find-program.ts";
import { needs } from "../helpers/needs.ts";
import { blocksOf } from "../helpers/pages.ts";
import { runProgram } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

/** A host in a folder: /etc, /opt and /proc of the page's scripts are in it, and programs of these names are scripts. */
async function host(programs: Record<string, string>) {
  const root = await newFolder();
  const here = (text: string) => text.replaceAll(/(?<![\w.])\/(etc|opt)\b/g, `${root}/$1`);
  for (const folder of ["bin", "etc/systemd/system", "opt"]) await mkdir(path.join(root, folder), { recursive: true });
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(path.join(root, "bin", name), `#!/bin/sh\nroot='${root}'\n${script}\n`, { mode: 0o755 });
  }
  const run = async (script: string, ...args: string[]) => {
    const env = { PATH: `${root}/bin:${process.env.PATH}` };
    const { exitCode, output } = await runProgram("bash", [script, ...args], env).exited;
    return { exitCode, output: output.replaceAll(root, "") };
  };
  const textOf = (file: string) => readFile(path.join(root, file), "utf8").catch(() => "");
  return { root, here, run, textOf };
}

describe("./setup servers", await needs("bash"), async () => {
  const programs = {
    // What is installed, and what listens, is in two files.
    "dpkg-query": 'grep -qx "$4" "$root/installed" 2>/dev/null && echo installed',
    ss: 'grep -s "$2" "$root/listening"',
    systemctl: "false",
    chgrp: "true",
    dpkg: '[ ! -e "$root/half" ] || { echo half; exit 1; }',
    id: "echo 0",
    "apt-get": 'echo "apt-get $*"',
  };
  async function fresh() {
    const made = await host(programs);
    const folder = path.join(made.root, "opt/project");
    await mkdir(path.join(folder, "bin"), { recursive: true });
    await cp("config", path.join(folder, "config"), { recursive: true });
    await writeFile(path.join(folder, "bin/veza-ledger-metrics"), "", { mode: 0o755 });
    await mkdir(path.join(folder, "host"));
    for (const name of await readdir("setup/host")) {
      const file = path.join(folder, name === "setup.sh" ? "setup" : `host/${name}`);
      await writeFile(file, made.here(await readFile(path.join("setup/host", name), "utf8")));
    }
    const install = () => made.run(path.join(folder, "setup"), "servers");
    return { ...made, install };
  }
  const filesOf = async ({ textOf }: Awaited<ReturnType<typeof fresh>>) =>
    Promise.all(["default/prometheus", "prometheus/prometheus.yml"].map((file) => textOf(`etc/${file}`)));

  it("installs all three for this host alone, and again after apt-get has failed", async () => {
    const one = await fresh();
    for (const _ of ["at first", "again"]) {
      const { output } = await one.install();
      expect(output).toContain("Installed: prometheus prometheus-pushgateway prometheus-alertmanager\n");
      // Else dpkg asks which of two files to keep, and fails where nobody answers.
      expect(output).toMatch(/^apt-get install .*--force-confold /m);
    }
    const [flags = "", config = ""] = await filesOf(one);
    expect(flags).toContain("--web.listen-address=127.0.0.1:9090");
    expect(config).toContain(`- ${one.root}/etc/prometheus/veza-ledger-metrics.yml`);
    // It will have receivers' URLs, which are secrets.
    expect((await stat(path.join(one.root, "etc/prometheus/alertmanager.yml"))).mode & 0o777).toBe(0o640);
  });

  it.each([
    ["the package is installed", { installed: "prometheus\n" }],
    ["something listens on port 9090", { listening: "sport = :9090\n" }],
    ["there is a file /etc/default/prometheus", { "etc/default/prometheus": 'ARGS="--storage.tsdb.retention=1y"\n' }],
  ])("leaves a Prometheus as it is where %s", async (reason, files) => {
    const one = await fresh();
    await mkdir(path.join(one.root, "etc/default"));
    for (const [name, text] of Object.entries(files)) await writeFile(path.join(one.root, name), text);
    const before = await filesOf(one);
    const { output } = await one.install();
    expect(output).toContain(`Left as it is: prometheus, since ${reason}.`);
    expect(output).toMatch(/^apt-get install .* prometheus-pushgateway prometheus-alertmanager$/m);
    expect(await filesOf(one)).toEqual(before);
  });

  it("says of a server that it has installed itself that it is here, and that nothing is to be done", async () => {
    const one = await fresh();
    await one.install();
    await writeFile(path.join(one.root, "installed"), "prometheus\nprometheus-pushgateway\n");
    const { output } = await one.install();
    expect(output).toMatch(
      /^ {2}Here since an earlier run: prometheus\n {2}Here since an earlier run: prometheus-pushgateway\n/,
    );
    expect(output).toMatch(/^apt-get install .* prometheus-alertmanager$/m);
    expect(output).not.toContain("Left as it is");
  });

  it("goes on with an installation that was broken off after the unit was there", async () => {
    const one = await fresh();
    await one.install();
    await writeFile(path.join(one.root, "listening"), "sport = :9090\n");
    await writeFile(path.join(one.root, "half"), ""); // As after a full disk.
    const { output } = await one.install();
    expect(output).toMatch(/^apt-get install .* --fix-broken --no-remove .*\n[\s\S]*^apt-get install .* prometheus /m);
    expect(output).not.toContain("Left as it is");
  });

  it("keeps a file that is there without its package", async () => {
    const one = await fresh();
    await mkdir(path.join(one.root, "etc/prometheus"));
    const route = path.join(one.root, "etc/prometheus/alertmanager.yml");
    await writeFile(route, "route: { receiver: own }\n");
    await chmod(route, 0o644);
    const { output } = await one.install();
    expect(output).toContain("Kept: /etc/prometheus/alertmanager.yml was here before. Add to it what docs/servers-in");
    expect((await stat(route)).mode & 0o777).toBe(0o644);
    expect(await one.textOf("etc/prometheus/alertmanager.yml")).toBe("route: { receiver: own }\n");
  });
});

describe("what docs/servers-in-use.md adds", () => {
  it("is a configuration of Prometheus, with a job for the service's series alone", async () => {
    const [ours = "", theirs = "", more = "", rules = ""] = await blocksOf("docs/servers-in-use.md", "yaml");
    const [jobs, watched] = [ours, more].map((text) => (load(text) as { scrape_configs: object[] }).scrape_configs);
    const { rule_files: files } = load(rules) as { rule_files: string[] };
    const other = { job_name: "own", static_configs: [{ targets: ["127.0.0.1:9091"] }], ...(load(theirs) as object) };
    const folder = await newFolder();
    const config = path.join(folder, "prometheus.yml");
    await writeFile(path.join(folder, "veza-ledger-metrics.yml"), await readFile("config/alertmanager/ledger.yml"));
    const rule_files = files.map((file) => file.replace("/etc/prometheus", folder));
    await writeFile(config, dump({ rule_files, scrape_configs: [...(jobs ?? []), other, ...(watched ?? [])] }));
    const { file } = await findProgram("promtool");
    const { exitCode, output } = await runProgram(file, ["check", "config", config], {}).exited;
    expect(exitCode, output).toBe(0);
    expect(jobs).toMatchObject([{ honor_labels: true }]);
    expect(watched).toMatchObject([{ job_name: "prometheus" }, { job_name: "alertmanager" }]);
  });

  it("is the shipped route, under names that an Alertmanager in use cannot have yet", async () => {
    const [route = ""] = (await blocksOf("docs/servers-in-use.md", "yaml")).slice(4);
    type Config = { route: Record<string, unknown> & { routes: object[] }; receivers: { name: string }[] };
    const added = load(route) as Config;
    const shipped = load(await readFile("config/alertmanager/alertmanager.yml", "utf8")) as Config;
    const named = (config: object) =>
      JSON.parse(
        JSON.stringify(config).replaceAll(
          /"(receiver|name)":"(alive|no-ping|pages|tickets)"/g,
          '"$1":"veza-ledger-$2"',
        ),
      );
    const { routes, ...top } = named(shipped.route);
    expect(added.route.routes).toEqual([{ matchers: ['alertname =~ "VezaLedger.*"'], ...top, routes }]);
    const byName = ({ receivers }: Config) =>
      Object.fromEntries(receivers.map((receiver) => [receiver.name, receiver]));
    expect(byName(added)).toEqual(byName(named(shipped)));
  });
});
