// docs/without-aws.md, as it is pasted, from the real archive. Left out is what needs a service manager, apt-get, nginx and
// Prometheus. The page's two scripts run on stand-ins for these, in folders of their own.
import { createHash } from "node:crypto";
import { chmod, cp, mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { dump, load } from "js-yaml";
import postgres from "postgres";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { hostArchive } from "../../deploy/host-archive.ts";
import { checks } from "../../lib/counts/checks.ts";
import { freePort } from "../../local/ports.ts";
import { startPostgres } from "../../local/postgres.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { findProgram } from "../helpers/find-program.ts";
import { insertRows } from "../helpers/models.ts";
import { needs } from "../helpers/needs.ts";
import { blocksOf } from "../helpers/pages.ts";
import { runProgram } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const page = "docs/without-aws.md";

/** A host with the archive: its /etc and /opt are in a folder, and each paste begins a new shell with the names. */
async function hostWithArchive(change = (packed: Buffer) => packed, checked = change) {
  const root = await newFolder();
  for (const name of ["etc", "opt", "root"]) await mkdir(path.join(root, name));
  const { folder, packed } = await made;
  const archive = path.join(root, "root/archive.tar.gz");
  await writeFile(archive, change(packed));
  const sum = createHash("sha256").update(checked(packed)).digest("hex");
  await writeFile(`${archive}.sha256`, `${sum}  archive.tar.gz\n`);
  const blocks = await blocksOf(page, "sh");
  const [names = ""] = blocks.filter((block) => block.startsWith("archive="));
  const here = (text: string) =>
    text
      .replace(/^archive=\S+/m, `archive=${archive}`)
      .replaceAll(/(?<![\w.])\/(etc|opt)\b(?!\/ssl\/certs\/ca-)/g, `${root}/$1`);
  /** The block with this text, after the names and the shell variables that earlier steps have set. */
  const pasted = (text: string, before = "") =>
    here(`${names}\n${before}\n${blocks.find((block) => block.includes(text)) ?? "false"}`);
  return { root, folder: path.join(root, "opt", folder), here, pasted };
}
const made = hostArchive(process.arch as "x64" | "arm64").then(({ folder, tar }) => {
  return { folder, packed: gzipSync(tar, { level: 1 }) };
});

const unpacking = "sha256sum";
const noRoom = /^Nothing was unpacked: the archive is cut off, or the disk is full \(\S+ left\)\.$/;
const cut = (packed: Buffer) => packed.subarray(0, packed.length / 2);
it.each([
  [
    "is not what its checksum says",
    cut,
    (packed: Buffer) => packed,
    "",
    /: the archive is not what .*archive.tar.gz.sha256 says/,
  ],
  ["is cut off", cut, cut, "", noRoom],
  ["does not fit on the disk", undefined, undefined, "trap '' XFSZ; ulimit -f 2000", noRoom],
  [
    "is for another machine",
    undefined,
    undefined,
    "PATH=$fakes:$PATH",
    /This archive is for \w+, and this machine is m68k/,
  ],
  ["is in no folder", undefined, undefined, "archive=/nowhere/archive.tar.gz", /cd: \/nowhere: No such file/],
])("unpacks nothing of an archive that %s, and says so in one sentence", async (_, change, checked, before, reason) => {
  const { root, pasted } = await hostWithArchive(change, checked);
  const fakes = await newFolder();
  await writeFile(path.join(fakes, "uname"), "#!/bin/sh\necho m68k\n", { mode: 0o755 });
  const { exitCode, output } = await runProgram("bash", ["-c", pasted(unpacking, before)], { fakes }).exited;
  expect([exitCode, output.trimEnd().split("\n")]).toEqual([1, [expect.stringMatching(reason)]]);
  expect(await readdir(path.join(root, "opt"))).toEqual([]);
});

it("has a name of its own for each block that a failure before it stops", async () => {
  const names = (await blocksOf(page, "sh")).flatMap((block) => /^step "(Step \w+)"/.exec(block)?.[1] ?? []);
  expect(names.length).toBeGreaterThan(9);
  expect(names).toEqual([...new Set(names)]);
});

const title = "leads to true numbers and a counted delivery, and, pasted again, changes no password and no secret";
it(title, await needs("openssl", "psql"), async () => {
  const { root, folder, here: onHost, pasted } = await hostWithArchive();
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  await runSqlFiles(server.superuserUrl, ["local/ledger.sql"]);
  const sql = postgres(server.superuserUrl, { max: 1 });
  onTestFinished(() => sql.end());
  for (const check of checks) await sql.unsafe(insertRows(check, 4));
  await sql.unsafe("create role veza_app login password 'veza_app'");
  await sql.unsafe(`grant select on ${tables.join(", ")} to veza_app`);
  // Its times have no zone: in another zone than this, no row is old.
  await sql.unsafe("alter table orders alter created_at type timestamp using created_at at time zone 'Asia/Tokyo'");
  const port = await freePort();
  const withSettings = onHost("set -a; . /etc/veza-ledger-metrics.env;");
  let password = "";
  const here = (text: string) =>
    [
      ["HOST:5432/DATABASE", `127.0.0.1:${server.port}/postgres`],
      ["admin=master", "admin=postgres"],
      ["http://127.0.0.1:9091", inject("pushgatewayUrl")],
      [/read -rsp [^;]*PGPASSWORD; export PGPASSWORD/g, `export PGPASSWORD=${password}`],
      ["psql -v", `PGPASSWORD=${password} psql -v`],
      ["name=ledger-metrics.example.com ", "name= "],
      ["timezone=UTC ", "timezone=Asia/Tokyo "],
      ["stage= ", "stage=staging "],
      ["token= ", "token=t0ken "],
    ].reduce(
      (before, [from = "", to = ""]) => before.replaceAll(from, to as string),
      text.replace(/systemd-run [\s\S]*?\.env (.*) &&/, `(${withSettings} $1) &&`),
    );
  const start = (command: string, settings = {}) =>
    runProgram("bash", ["-c", here(onHost(command))], { ...withoutSettings, CI: undefined, ...settings });
  /** Pastes the block with this text into a new shell, after the names. Resolves to what it prints. */
  const paste = async (text: string, whosePassword = "", failed = "") => {
    password = whosePassword;
    const before = `folder='${folder}' failed='${failed}'`;
    const { exitCode, output } = await start(pasted(text, before), { PORT: String(port) }).exited;
    return { exitCode, output };
  };
  const settings = () => readFile(path.join(root, "etc/veza-ledger-metrics.env"), "utf8");
  const kept = async () => [
    await settings(),
    await sql`select rolname, rolpassword from pg_authid where rolname ~ '^veza_ledger' and rolpassword <> '' order by 1`,
  ];

  // A step that comes before the archive, or after a step that has failed, does nothing.
  expect((await start(pasted("--schema")).exited).output).toContain("folder: is made by step 1: paste that first");
  for (const _ of ["at first", "again"]) {
    expect(await paste(unpacking)).toEqual({ exitCode: 0, output: `${folder}\n` });
    expect(await readdir(path.join(root, "opt"))).toEqual([path.basename(folder)]);
  }
  await symlink(folder, path.join(root, "opt/veza-ledger-metrics")); // As step 6 does.
  const stopped = { exitCode: 1, output: "Step 1b has failed: repeat it. To go on without it: failed=\n" };
  const later = ["servers.sh", "--schema", "roles.sql", "PUSHGATEWAY_URL=", "systemd-run", "use.sh", "send ping"];
  for (const text of [...later, "dashboard.json"]) {
    expect(await paste(text, "", "Step 1b"), text).toEqual(stopped);
  }
  const look = await paste("--schema", "veza_app");
  expect(look.output).toMatch(/^[!✓] stuck_orders +4, /m);
  expect(await paste("roles.sql", "postgres")).not.toMatchObject({ exitCode: 0 }); // There are no settings yet.
  expect(await paste("PUSHGATEWAY_URL=")).toMatchObject({ exitCode: 0 });
  expect(await settings()).toMatch(/^PUSHGATEWAY_TOKEN='t0ken'$/m);
  expect(await settings()).toMatch(/^STAGE='staging'$/m);
  expect(await paste("roles.sql", "wrong")).not.toMatchObject({ exitCode: 0 }); // The administrator mistypes.
  expect(await paste("roles.sql", "postgres")).toMatchObject({ exitCode: 0 });
  const all = await paste("systemd-run");
  expect([all.exitCode, all.output.match(/✗.*/g)], all.output).toEqual([0, null]);

  const unit = await readFile("config/systemd/veza-ledger-metrics.service", "utf8");
  const [, command = ""] = /^ExecStart=(.*)/m.exec(unit) ?? [];
  const service = start(`${withSettings} exec ${command}`, { PORT: String(port) });
  await service.printed(/"message":"tick","stuck_orders":4/);
  expect(await paste("send ping")).toMatchObject({
    exitCode: 0,
    output: expect.stringMatching(
      new RegExp(`Recorded. It is on the gateway\\. .*\\nhttp://127\\.0\\.0\\.1:${port}/ whsec_`),
    ),
  });
  service.child.kill("SIGTERM");
  expect((await service.exited).exitCode).toBe(0);

  const before = await kept();
  expect(before[1]).toHaveLength(1);
  expect(await paste("roles.sql", "postgres")).toMatchObject({ exitCode: 0 });
  expect((await paste("PUSHGATEWAY_URL=")).output).toMatch(
    /^Kept: .*If your names have changed since, edit it by hand/,
  );
  expect(await kept()).toEqual(before);

  // A password that was changed in the settings, while no other stage has this login, and while one has.
  const changed = (await settings()).replace(/veza_ledger:\w+@/, "veza_ledger:another@");
  await writeFile(path.join(root, "etc/veza-ledger-metrics.env"), changed);
  await sql.unsafe("create database other");
  await sql.unsafe("grant connect on database other to veza_ledger");
  const refused = await paste("roles.sql", "postgres");
  expect(refused).toMatchObject({ output: expect.stringContaining("in use elsewhere: veza_ledger to other") });
  expect(refused.exitCode).not.toBe(0);
  expect((await kept())[1]).toEqual(before[1]);
  await sql.unsafe("drop database other");
  expect(await paste("roles.sql", "postgres")).toMatchObject({ exitCode: 0 });
  const login = postgres(`postgres://veza_ledger:another@127.0.0.1:${server.port}/postgres`, { max: 1 });
  expect(await login`select 1 as one`.finally(() => login.end())).toEqual([{ one: 1 }]);
});

/** Pastes the block with this text on a host with these names, where programs are scripts. Returns what is there then. */
async function pasteWith(text: string, names: [RegExp, string][], programs: Record<string, string>) {
  const { root, folder, pasted } = await hostWithArchive();
  const fakes = await newFolder();
  for (const [name, script] of Object.entries({ systemctl: 'echo "systemctl $*"', ...programs })) {
    await writeFile(path.join(fakes, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  await mkdir(path.join(root, "etc/nginx/conf.d"), { recursive: true });
  await cp("config", path.join(folder, "config"), { recursive: true });
  await writeFile(path.join(root, "etc/veza-ledger-metrics.env"), "PORT='8081'\n");
  const block = pasted(text, `folder='${folder}'`);
  const changed = names.reduce(
    (before, [from, to]) => before.replace(from, to.replaceAll("/etc/", `${root}/etc/`)),
    block,
  );
  const { exitCode, output } = await runProgram("bash", ["-c", `PATH=$fakes:$PATH\n${changed}`], { fakes }).exited;
  const textOf = (file: string) => readFile(path.join(root, "etc", file), "utf8").catch(() => "");
  return { exitCode, output: output.replaceAll(root, ""), root, textOf };
}

describe("step 1", await needs("bash"), () => {
  it("refuses a file of authorities that the service cannot read", async () => {
    const names: [RegExp, string][] = [[/^ca=\S+/m, "ca=/root/ca.pem"]];
    const { exitCode, output } = await pasteWith('step "Step 1a"', names, { "apt-get": "exit 0" });
    expect([exitCode, output]).toEqual([1, "The service cannot read /root/ca.pem: move it to /etc/ssl/certs.\n"]);
  });

  it("names each program that a host without apt-get lacks", async () => {
    const names: [RegExp, string][] = [[/^step "/m, 'PATH=$fakes; step "']];
    const here = ["curl", "jq", "nginx", "openssl", "chmod"].map((name) => [name, "exit 0"]);
    const { exitCode, output } = await pasteWith('step "Step 1a"', names, Object.fromEntries(here));
    expect([exitCode, output.match(/\w+(?=: not found)/g)], output).toEqual([1, ["ss", "psql"]]);
  });
});

describe("step 7", await needs("bash"), async () => {
  const pasteStep = async (names: [RegExp, string][], nginx: string) => {
    const { exitCode, output, root, textOf } = await pasteWith("site=", names, { nginx });
    const hook = await textOf("letsencrypt/renewal-hooks/deploy/veza-ledger-metrics");
    const site = (await textOf("nginx/conf.d/veza-ledger-metrics.conf")).replaceAll(root, "");
    return { exitCode, output, hook, site };
  };

  it("gives nginx the name, the port and the certificate, which certbot's hook lets it read again", async () => {
    const live = "/etc/letsencrypt/live/push.example.com";
    const names: [RegExp, string][] = [
      [/^name=\S+/m, "name=push.example.com"],
      [/^certificate=\S+/m, `certificate=${live}/fullchain.pem`],
      [/^key=\S+/m, `key=${live}/privkey.pem`],
    ];
    const { exitCode, site, hook, output } = await pasteStep(names, "exit 0");
    expect([exitCode, output]).toEqual([0, "systemctl reload-or-restart nginx\n"]);
    for (const line of [
      "server_name push.example.com;",
      `ssl_certificate ${live}/fullchain.pem;`,
      `ssl_certificate_key ${live}/privkey.pem;`,
      "proxy_pass http://127.0.0.1:8081;",
    ])
      expect(site).toMatch(new RegExp(`^ +${line}$`, "m"));
    expect(hook).toBe("#!/bin/sh\nsystemctl reload nginx\n");
  });

  it.each([
    ["without a name", [[/^name=\S+/m, "name="]] as [RegExp, string][], "exit 0", 0, /^No nginx: /],
    [
      "without a certificate",
      [[/^certificate=\S+/m, "certificate="]] as [RegExp, string][],
      "exit 0",
      0,
      /^No nginx: /,
    ],
    [
      "where nginx refuses it",
      [],
      "exit 1",
      1,
      /^nginx does not run with it, .*\nEdit \/.*config\/nginx\/\S+\.conf, /m,
    ],
  ])("leaves no site and no hook behind %s", async (_, names, nginx, code, says) => {
    const { exitCode, output, site, hook } = await pasteStep(names, nginx);
    expect([exitCode, site, hook]).toEqual([code, "", ""]);
    expect(output).toMatch(says);
  });
});

it.each([
  ["/proc/version", "  listen [::]:443 ssl;\n"],
  ["/nowhere", ""],
])("gives nginx's site IPv6 only where the host has it, as by %s", await needs("bash"), async (sign, line) => {
  const { textOf } = await pasteWith("site=", [[/\/proc\/net\/if_inet6/, sign]], { nginx: "exit 0" });
  const site = await textOf("nginx/conf.d/veza-ledger-metrics.conf");
  expect(site).toMatch(/^ {2}listen 443 ssl;\n/m);
  expect(site.match(/^.*\[::\].*\n/m)?.[0] ?? "").toBe(line);
});

describe("step 8", await needs("bash"), () => {
  const links: [RegExp, string][] = [
    [/^repository=/m, "repository=https://git.example.com/veza"],
    [/^grafana=/m, "grafana=https://grafana.example.com"],
  ];

  it("writes rules that Prometheus can read, also where root's files are private, and asks for both addresses", async () => {
    const programs = { promtool: "exit 0" };
    const { exitCode, output, root } = await pasteWith(
      'step "Step 8a"',
      [[/^step "/m, 'umask 077; step "'], ...links],
      programs,
    );
    expect([exitCode, output]).toEqual([0, expect.any(String)]);
    expect((await stat(path.join(root, "etc/prometheus/veza-ledger-metrics.yml"))).mode & 0o777).toBe(0o644);
    const missing = await pasteWith('step "Step 8a"', [], programs);
    expect(missing.output).toContain("repository: parameter null or not set");
    expect(await missing.textOf("prometheus/veza-ledger-metrics.yml")).toBe("");
  });

  it.each([
    [
      "the examples are still there",
      "shipped",
      "",
      "",
      "Pages go to: pages\nWrong: these are examples. Fill them in, and paste this again.\n",
    ],
    ["all is filled in", "filled in", "prod", "127.0.0.1:9090", "Pages go to: pages\n"],
    ["pages of the stage wake nobody", "filled in", "production", "", "Pages go to: tickets\n"],
    [
      "others reach the gateway",
      "filled in",
      "",
      "10.0.0.5:9091",
      "Pages go to: pages\nOthers can reach 10.0.0.5:9091\n",
    ],
  ])("says whether %s", async (_, route, stage, listens, says) => {
    const { file } = await findProgram("amtool");
    const shipped = await readFile("config/alertmanager/alertmanager.yml", "utf8");
    const text = route === "shipped" ? shipped : shipped.replaceAll("127.0.0.1:9999", "pager.example.com");
    const put = `mkdir -p /etc/prometheus; cat >/etc/prometheus/alertmanager.yml <<'ROUTE'\n${text}ROUTE\n`;
    const { output } = await pasteWith(
      'step "Step 8b"',
      [[/^step "/m, `${put}echo STAGE=${stage} >>/etc/veza-ledger-metrics.env; step "`]],
      {
        promtool: "exit 0",
        amtool: `exec '${file}' "$@"`,
        curl: "echo VezaLedgerAlive",
        ss: listens && `case $* in *:8081*) ;; *) exit 1 ;; esac; echo LISTEN 0 511 ${listens} '0.0.0.0:*'`,
      },
    );
    expect(output.includes(":9999/ticket")).toBe(route === "shipped");
    expect(output.match(/^(Pages|Wrong|Others).*\n/gm)?.join("") ?? "").toBe(says);
  });
});

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
    const { exitCode, output } = await runProgram("sh", [script, ...args], env).exited;
    return { exitCode, output: output.replaceAll(root, "") };
  };
  const textOf = (file: string) => readFile(path.join(root, file), "utf8").catch(() => "");
  return { root, here, run, textOf };
}

describe("servers.sh", await needs("bash"), async () => {
  const programs = {
    // What is installed, and what listens, is in two files.
    "dpkg-query": 'grep -qx "$4" "$root/installed" 2>/dev/null && echo installed',
    ss: 'grep -s "$2" "$root/listening"',
    systemctl: "false",
    chgrp: "true",
    "apt-get": 'echo "apt-get $*"',
  };
  async function fresh() {
    const made = await host(programs);
    const folder = path.join(made.root, "opt/project/config");
    for (const name of ["default", "systemd", "prometheus", "alertmanager"]) {
      await mkdir(path.join(folder, name), { recursive: true });
    }
    const files = ["prometheus", "prometheus-pushgateway", "prometheus-alertmanager"].map((name) => `default/${name}`);
    for (const file of [...files, "prometheus/prometheus.yml", "alertmanager/alertmanager.yml", "systemd/servers.sh"]) {
      await writeFile(path.join(folder, file), made.here(await readFile(path.join("config", file), "utf8")));
    }
    const install = (...args: string[]) => made.run(path.join(folder, "systemd/servers.sh"), ...args);
    return { ...made, install };
  }
  const filesOf = async ({ textOf }: Awaited<ReturnType<typeof fresh>>) =>
    Promise.all(["default/prometheus", "prometheus/prometheus.yml"].map((file) => textOf(`etc/${file}`)));

  it("installs all three for this host alone, and again after apt-get has failed", async () => {
    const one = await fresh();
    for (const _ of ["at first", "again"]) {
      const { output } = await one.install();
      expect(output).toContain("Installed: prometheus prometheus-pushgateway prometheus-alertmanager.");
      // Else dpkg asks which of two files to keep, and fails where nobody answers.
      expect(output).toMatch(/^apt-get install -y .*--force-confold /m);
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
      /^Here since an earlier run: prometheus\nHere since an earlier run: prometheus-pushgateway\n/,
    );
    expect(output).toMatch(/^apt-get install .* prometheus-alertmanager$/m);
    expect(output).not.toContain("Left as it is");
  });

  it("keeps a file that is there without its package, and installs what it is asked for alone", async () => {
    const one = await fresh();
    await mkdir(path.join(one.root, "etc/prometheus"));
    const route = path.join(one.root, "etc/prometheus/alertmanager.yml");
    await writeFile(route, "route: { receiver: own }\n");
    await chmod(route, 0o644);
    const { output } = await one.install("prometheus-alertmanager");
    expect(output).toContain("Kept: /etc/prometheus/alertmanager.yml was here before. Add to it what docs/servers-in");
    expect(output).toContain("Installed: prometheus-alertmanager.");
    expect((await stat(route)).mode & 0o777).toBe(0o644);
    expect(await one.textOf("etc/prometheus/alertmanager.yml")).toBe("route: { receiver: own }\n");
    expect(await filesOf(one)).toEqual(["", ""]);
  });
});

describe("use.sh says what runs", await needs("ss", "curl"), async () => {
  /**
   * A service manager that knows one service, and starts a version's `serve` without starting it again: by the link, or
   * in the folder that the file `drop-in` names. It keeps the unit that it has loaded, and whether a boot starts it.
   */
  const systemctl = `
    stop() { [ ! -e "$root/pid" ] || kill "$(cat "$root/pid")" 2>/dev/null; rm -f "$root/pid"; }
    case "$1" in
      daemon-reload) cp "$root/etc/systemd/system/veza-ledger-metrics.service" "$root/loaded" 2>/dev/null ;;
      enable) echo at boot >"$root/enabled" ;;
      restart)
        stop
        cd "$(cat "$root/drop-in" 2>/dev/null || echo "$root/opt/veza-ledger-metrics")" &&
          { node serve.mjs >/dev/null 2>&1 & echo $! >"$root/pid"; } ;;
      disable) stop; rm -f "$root/enabled" ;;
      show) cat "$root/pid" 2>/dev/null || echo 0 ;;
    esac`;
  // A second is a tenth of one, and a line of a file.
  const sleep = 'echo >>"$root/seconds"; exec /bin/sleep 0.1';
  const programs = { systemctl, journalctl: "echo the log", sleep };
  async function service() {
    const made = await host(programs);
    onTestFinished(() => made.run(path.join(made.root, "bin/systemctl"), "disable").then(() => {}));
    const script = made.here(await readFile("config/systemd/use.sh", "utf8"));
    const port = await freePort();
    const answering = (status: number, afterSeconds = 0) =>
      `import { existsSync, statSync } from "node:fs";
       import http from "node:http";
       const server = http.createServer((_, answer) => answer.writeHead(${status}).end());
       const seconds = () => existsSync("../../seconds") ? statSync("../../seconds").size : 0;
       while (seconds() < ${afterSeconds}) await new Promise((wake) => setTimeout(wake, 20));
       server.listen(${port}, "127.0.0.1");`;
    /** Uses a version of this name, new or again. Resolves to the last line. */
    const use = async (name: string, program = answering(200), launcher = "exit 0") => {
      const folder = path.join(made.root, "opt", name);
      for (const part of ["bin", "config/systemd"]) await mkdir(path.join(folder, part), { recursive: true });
      await writeFile(path.join(folder, "bin/veza-ledger-metrics"), `#!/bin/sh\n${launcher}\n`, { mode: 0o755 });
      await writeFile(path.join(folder, "serve.mjs"), program);
      await writeFile(path.join(folder, "config/systemd/veza-ledger-metrics.service"), `# ${name}\n`);
      await writeFile(path.join(folder, "config/systemd/use.sh"), script);
      const { exitCode, output } = await made.run(path.join(folder, "config/systemd/use.sh"));
      return { exitCode, output, says: output.trimEnd().split("\n").at(-1) };
    };
    const unit = () => made.textOf("etc/systemd/system/veza-ledger-metrics.service");
    await writeFile(path.join(made.root, "etc/veza-ledger-metrics.env"), "");
    return { ...made, use, unit, answering, where: `http://127.0.0.1:${port}` };
  }
  const broken = "process.exit(3)";

  it("after an upgrade, after one that fails, and on the way back by hand", async () => {
    const { use, unit, textOf, where } = await service();
    expect(await use("1")).toMatchObject({ exitCode: 0, says: `Runs: /opt/1, at ${where}` });
    expect(await textOf("enabled")).toBe("at boot\n");
    const second = await use("2");
    expect(second).toMatchObject({ exitCode: 0, says: `Runs: /opt/2, at ${where}` });
    expect(second.output).toContain("The way back: /opt/1/config/systemd/use.sh\n");
    const failed = await use("3", broken);
    expect(failed).toMatchObject({ exitCode: 1, says: `Runs: /opt/2, at ${where}, as before` });
    expect(failed.output).toContain("It does not answer: /opt/3. The end of its log:\nthe log");
    expect([await unit(), await textOf("loaded")]).toEqual(["# 2\n", "# 2\n"]);
    expect(await use("1")).toMatchObject({ exitCode: 0, says: `Runs: /opt/1, at ${where}` });
  });

  it("where nothing does", async () => {
    const { root, use, textOf } = await service();
    expect(await use("1", broken)).toMatchObject({ exitCode: 1, says: expect.stringContaining("Nothing runs: ") });
    expect(await textOf("enabled")).toBe("");
    await expect(readlink(path.join(root, "opt/veza-ledger-metrics"))).rejects.toThrow("ENOENT");
    // Nobody has edited the unit of the version that failed.
    expect(await use("1")).toMatchObject({ exitCode: 0, output: expect.stringMatching(/^Runs: .*\n$/) });
    expect(await use("1", broken)).toMatchObject({ exitCode: 1, says: expect.stringContaining("Nothing answers.") });
    expect(await use("2", broken)).toMatchObject({
      exitCode: 1,
      says: "Nothing answers: neither does the version before. systemd keeps trying it: /opt/1",
    });
  });

  it("where its process runs, and listens nowhere", async () => {
    const { use, textOf } = await service();
    const idle = "setInterval(() => {}, 1000)";
    expect(await use("1", idle)).toMatchObject({ exitCode: 1, says: expect.stringContaining("Nothing runs: ") });
    expect(await textOf("pid")).toBe("");
  });

  it("where its process needs ten seconds to begin", async () => {
    const { use, answering, where } = await service();
    expect(await use("1", answering(200, 10))).toMatchObject({ exitCode: 0, says: `Runs: /opt/1, at ${where}` });
  });

  it("where its process answers that it is not healthy", async () => {
    const { use, answering, where } = await service();
    await use("1");
    expect(await use("2", answering(503))).toMatchObject({
      exitCode: 1,
      says: `Runs: /opt/1, at ${where}, as before`,
    });
  });

  it("where somebody's drop-in keeps the version before running", async () => {
    const { root, use, where } = await service();
    await use("1");
    await writeFile(path.join(root, "drop-in"), path.join(root, "opt/1"));
    expect(await use("2")).toMatchObject({ exitCode: 1, says: `Runs: /opt/1, at ${where}, as before` });
  });

  const unitOf2 = "opt/2/config/systemd/veza-ledger-metrics.service";
  it.each([
    ["this machine cannot run it", "", "echo It is for aarch64. >&2; exit 1", "It is for aarch64."],
    ["there are no settings", "etc/veza-ledger-metrics.env", "exit 0", "there is no /etc/veza-ledger-metrics.env"],
    ["its unit cannot be copied", unitOf2, "exit 0", "the lines above say why."],
  ])("which is the version before, where %s", async (_, missing, launcher, reason) => {
    const { root, run, use, unit, where } = await service();
    expect(await use("1")).toMatchObject({ exitCode: 0, says: `Runs: /opt/1, at ${where}` });
    const before = [await unit(), await readlink(path.join(root, "opt/veza-ledger-metrics"))];
    await use("2", broken, "exit 1");
    await writeFile(path.join(root, "opt/2/bin/veza-ledger-metrics"), `#!/bin/sh\n${launcher}\n`);
    if (missing) await rm(path.join(root, missing));
    const { exitCode, output } = await run(path.join(root, "opt/2/config/systemd/use.sh"));
    expect([exitCode, output]).toEqual([1, expect.stringContaining(`Nothing was changed: ${reason}`)]);
    expect([await unit(), await readlink(path.join(root, "opt/veza-ledger-metrics"))]).toEqual(before);
    expect(await readdir(path.join(root, "opt"))).toEqual(["1", "2", "veza-ledger-metrics"]);
    expect(await readdir(path.join(root, "etc/systemd/system"))).toEqual(["veza-ledger-metrics.service"]);
  });

  it("and keeps a copy of a unit that somebody has edited", async () => {
    const { root, use, textOf, unit } = await service();
    await use("1");
    expect((await use("2")).output).not.toContain("a copy is in");
    await writeFile(path.join(root, "etc/systemd/system/veza-ledger-metrics.service"), "# 2, edited\n");
    expect((await use("3")).output).toContain("a copy is in /etc/systemd/system/veza-ledger-metrics.service.before.");
    expect(await textOf("etc/systemd/system/veza-ledger-metrics.service.before")).toBe("# 2, edited\n");
    expect(await unit()).toBe("# 3\n");
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

  it.each([
    ["VezaLedgerAlive", ""],
    ["VezaLedgerAlive", "prod"],
    ["VezaLedgerAlive", "staging"],
    ["VezaLedgerSamplerSilent", ""],
    ["VezaLedgerStuckOrders", ""],
    ["VezaLedgerStuckOrders", "prod"],
    ["VezaLedgerStuckOrders", "staging"],
    ["VezaLedgerStuckRefunds", "prod"],
    ["Own", "prod"],
  ])("routes %s of the stage %o to the receiver that the shipped route has for it", async (alert, stage) => {
    const { file } = await findProgram("amtool");
    const [route = ""] = (await blocksOf("docs/servers-in-use.md", "yaml")).slice(4);
    const added = load(route) as { route: object; receivers: object[] };
    const config = path.join(await newFolder(), "alertmanager.yml");
    await writeFile(
      config,
      dump({ route: { receiver: "own", ...added.route }, receivers: [{ name: "own" }, ...added.receivers] }),
    );
    const severity = /StuckRefunds/.test(alert) ? "ticket" : /Alive/.test(alert) ? "none" : "page";
    const routeOf = async (file_: string) => {
      const args = [
        "config",
        "routes",
        "test",
        `--config.file=${file_}`,
        `alertname=${alert}`,
        `severity=${severity}`,
        ...(stage ? [`stage=${stage}`] : []),
      ];
      return (await runProgram(file, args, {}).exited).output.match(/^\S*(own|alive|no-ping|pages|tickets)/m)?.[0];
    };
    const shipped = await routeOf("config/alertmanager/alertmanager.yml");
    expect(await routeOf(config)).toBe(alert === "Own" ? "own" : `veza-ledger-${shipped}`);
  });
});
