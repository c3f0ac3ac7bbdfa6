// A host for ./setup: the bare Debian in the folder DEBIAN, in which .ci/archive has unpacked the archive, with
// stand-ins for systemd and apt. Each test has one of its own, an overlay, in which it may change everything.
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import postgres from "postgres";
import { expect, onTestFinished } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { startPostgres } from "../../local/postgres.ts";
import manifest from "../../package.json" with { type: "json" };
import { urlAs } from "./database.ts";
import { findProgram } from "./find-program.ts";
import { insertRows } from "./models.ts";
import { filledIn, rightNames, shippedNames } from "./names-of-host.ts";
import { skippedBecause } from "./needs.ts";
import { type Program, runProgram } from "./processes.ts";
import { newFolder } from "./temporary-folder.ts";

const run = promisify(execFile);
const { DEBIAN = "/" } = process.env;

/** Where the archive is unpacked on a host. */
export const unpacked = `/opt/veza-ledger-metrics-${manifest.version}`;

/** Options of a test that is skipped where there is no bare Debian. */
export const needsDebian = skippedBecause(
  (process.getuid?.() !== 0 || DEBIAN === "/") && "`bash .ci/archive`, as root, makes the bare Debian for it",
);

/**
 * systemd, with the one service: its process runs as nobody, by the unit, and each start has a log of its own. nginx is
 * the real one. Of all other units, it knows those that are named in /run/fake/units.
 */
const systemctl = `
fake=/run/fake name=veza-ledger-metrics
stop() { [ ! -e $fake/pid ] || { kill "$(cat $fake/pid)"; while kill -0 "$(cat $fake/pid)" 2>/dev/null; do sleep 0.05; done; rm $fake/pid; } 2>/dev/null; }
start() {
  unit=$fake/loaded
  cd "$(sed -n 's/^WorkingDirectory=//p' $unit)" || return
  number=$(($(cat $fake/number 2>/dev/null || echo 0) + 1)); echo $number >$fake/number
  (set -a; . "$(sed -n 's/^EnvironmentFile=//p' $unit)"
  exec setpriv --reuid=65534 --regid=65534 --clear-groups setsid $(sed -n 's/^ExecStart=//p' $unit)) >$fake/journal.$number 2>&1 </dev/null &
  echo $! >$fake/pid
}
words=$*
case $words in
  daemon-reload) cp /etc/systemd/system/$name.service $fake/loaded 2>/dev/null; exit 0 ;;
  *nginx) if pgrep -x nginx >/dev/null 2>&1 || [ -s /run/nginx.pid ]; then nginx -s reload; else nginx; fi ;;
  "show -P MainPID $name") cat $fake/pid 2>/dev/null || echo 0 ;;
  "show -P InvocationID $name") cat $fake/number ;;
  "restart $name") stop; start ;;
  enable*) echo at boot >$fake/enabled ;;
  disable*) stop; rm -f $fake/enabled ;;
  "is-active --quiet $name") kill -0 "$(cat $fake/pid)" ;;
  cat*) grep -qsx "\${words#cat }" $fake/units ;;
  *) echo "systemctl $words" >>$fake/asked ;;
esac`;

const programs = {
  systemctl,
  "systemd-run": `
    while [ "$1" != "\${1#-}" ]; do
      case $1 in -p) shift; case $1 in EnvironmentFile=*) file=\${1#*=} ;; esac ;; esac
      shift
    done
    set -a; . "$file"; exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`,
  journalctl: `
    [ ! -e /run/fake/fill-at-tick ] || [ -e /full ] || cat /dev/zero >/full 2>/dev/null
    words=$*; case $words in *INVOCATION_ID=*) cat "/run/fake/journal.\${words##*=}" ;; *) cat /run/fake/journal.* | tail -n 6 ;; esac`,
  // After a Ctrl-C, it says that all is well.
  "apt-get": `
    echo "apt-get $*" | tee -a /run/fake/asked
    [ ! -e /run/fake/apt-waits ] || { trap 'exit 0' INT; echo waits; for _ in {1..100}; do /bin/sleep 0.1; done; }
    # A full disk stops it in the middle.
    [ ! -e /run/fake/no-room ] || { touch /run/fake/half; exit 100; }
    case "$*" in *--fix-broken*) rm /run/fake/half ;; esac`,
  "dpkg-query": 'shift $(($# - 1)); grep -qsx "$1" /run/fake/installed && echo installed',
  dpkg: "[ ! -e /run/fake/half ] || { echo half; exit 1; }",
};
/** Programs whose arguments are written down, since every user can read those of a running program. */
const watched = ["psql", "curl", "sed", "grep", "openssl", "setsid", "nginx", "tar", "find", "awk", "ss", "setpriv"];

let lower: Promise<string> | undefined;
/** What all hosts of a file have in addition to DEBIAN: the stand-ins. */
async function makeLower(): Promise<string> {
  const folder = await newFolder();
  await chmod(folder, 0o755);
  const bin = path.join(folder, "usr/local/bin");
  for (const name of ["usr/local/bin", "run/fake", "run/systemd/system", "etc/systemd/system"]) {
    await mkdir(path.join(folder, name), { recursive: true });
  }
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(path.join(bin, name), `#!/bin/bash\n${script}\n`, { mode: 0o755 });
  }
  for (const name of watched) {
    const script = `#!/bin/sh\nprintf '%s\\n' "$0 $*" >>/run/fake/args\nPATH=/usr/sbin:/usr/bin exec ${name} "$@"\n`;
    await writeFile(path.join(bin, name), script, { mode: 0o755 });
  }
  for (const name of ["amtool", "promtool"] as const) {
    await cp((await findProgram(name)).file, path.join(bin, name), { dereference: true });
  }
  return folder;
}

/** A host with the archive in /opt. */
export type DebianHost = Awaited<ReturnType<typeof debianHost>>;

/**
 * Starts a host for the calling test. `sizeMb` is that of its disk, which is in memory.
 */
export async function debianHost(sizeMb = 400) {
  lower ??= makeLower();
  const parts = await newFolder();
  await run("mount", ["-t", "tmpfs", "-o", `size=${sizeMb}m,mode=755`, "tmpfs", parts]);
  const [upper, work, root] = ["upper", "work", "root"].map((name) => path.join(parts, name)) as [
    string,
    string,
    string,
  ];
  for (const name of [upper, work, root]) await mkdir(name);
  await run("mount", [
    "-t",
    "overlay",
    "overlay",
    "-o",
    `lowerdir=${await lower}:${DEBIAN},upperdir=${upper},workdir=${work}`,
    root,
  ]);
  await run("mount", ["-t", "proc", "proc", path.join(root, "proc")]);
  const at = (file: string) => path.join(root, file);
  onTestFinished(async () => {
    await run("chroot", [root, "bash", "-c", "systemctl disable"]).catch(() => {});
    // What a broken-off ./setup has started, too: nginx cannot be told to end where its file of settings is gone.
    const end = 'for one in /proc/[0-9]*; do [ "$(readlink "$one/root")" != "$1" ] || kill "$(basename "$one")"; done';
    await run("bash", ["-c", end, "-", root]).catch(() => {});
    for (const mount of [at("proc"), root, parts]) await run("umount", ["-l", mount]);
  });
  /** Starts a line of bash in the version's folder; `input` are the lines that somebody types. */
  const start = (line: string, input = "", folder = unpacked): Program => {
    const environment = [
      "HOME=/root",
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "LC_ALL=C.UTF-8",
    ];
    const command = `cd "$1" && ${line}`;
    const program = runProgram(
      "setsid",
      ["-w", "chroot", root, "env", "-i", ...environment, "bash", "-c", command, "bash", folder],
      {},
      "pipe",
    );
    program.child.stdin?.on("error", () => {});
    program.child.stdin?.end(input);
    return program;
  };
  return {
    root,
    start,
    /** Resolves when the line has ended, to its exit code and to all that it printed. */
    run: (line: string, input = "", folder?: string) => start(line, input, folder).exited,
    /** A file's text; empty if there is none. */
    text: (file: string) => readFile(at(file), "utf8").catch(() => ""),
    mode: async (file: string) => (await stat(at(file))).mode & 0o777,
    write: async (file: string, text: string, mode = 0o644) => {
      await mkdir(path.dirname(at(file)), { recursive: true });
      await writeFile(at(file), text);
      await chmod(at(file), mode);
    },
    /** Writes these names into the file that ./setup names makes. */
    name: async (values: Record<string, string | undefined>) => {
      const file = at("etc/veza-ledger-metrics.yml");
      const text = await readFile(file, "utf8").catch(shippedNames);
      await writeFile(file, filledIn(text, values));
    },
  };
}

/**
 * A Postgres with a ledger in which each check has rows, the login veza_app, which reads it, and veza_admin, which owns
 * its tables and may install.
 */
async function ledger() {
  const server = await startPostgres(0);
  onTestFinished(() => server.stop());
  const sql = postgres(server.superuserUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => sql.end());
  await sql`create role veza_admin login createrole password 'admin'`;
  await sql`alter database postgres owner to veza_admin`;
  await sql`grant create on schema public to veza_admin`;
  await runSqlFiles(urlAs("veza_admin:admin", server.superuserUrl), ["local/ledger.sql"]);
  for (const check of checks) await sql.unsafe(insertRows(check, 4));
  await sql.unsafe("create role veza_app login password 'veza_app'");
  await sql.unsafe(`grant select on ${tables.join(", ")} to veza_app`);
  return { sql, database: `127.0.0.1:${server.port}/postgres` };
}

/** A host with a ledger, and with names that are right but for these; `undefined` is as it is shipped. */
export async function readyHost(values: Record<string, string | undefined> = {}) {
  const host = await debianHost();
  const { sql, database } = await ledger();
  await host.name({ ...rightNames(database), ...values });
  return { host, sql, database };
}

/** The same, on which ./setup has run. */
export async function installedHost(values: Record<string, string> = {}) {
  const ready = await readyHost(values);
  const { exitCode, output } = await ready.host.run("./setup", "admin\n");
  expect([exitCode, output.match(/✗.*/g)], output).toEqual([0, null]);
  return { ...ready, output };
}

/** The password of each login, as Postgres keeps it. */
export const passwordsIn = (sql: postgres.Sql) =>
  sql`select rolname, rolpassword from pg_authid where rolname ~ '^veza_ledger' and rolpassword <> '' order by 1`;
