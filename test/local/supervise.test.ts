// The supervisor of a program: it ends the program with this process, and deletes its folder.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { supervise } from "../../local/supervise.ts";
import { needs } from "../helpers/needs.ts";
import { isAlive, runScript } from "../helpers/processes.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const run = promisify(execFile);

it.each([
  { signal: undefined, keepsFolder: false, exitCode: 128 + 15 },
  { signal: "SIGKILL", keepsFolder: true, exitCode: 128 + 9 },
] as const)("ends a program by $signal; its folder stays: $keepsFolder", async ({ signal, keepsFolder, exitCode }) => {
  const folder = await newFolder();
  const program = await supervise("sleep", ["600"], { folder, keepsFolder });
  expect([isAlive(program.pid), program.exitCode()]).toEqual([true, undefined]);
  await program.end(signal);
  expect([isAlive(program.pid), program.exitCode()]).toEqual([false, exitCode]);
  expect(existsSync(folder)).toBe(keepsFolder);
});

it.each([
  ["has ended by itself", "/bin/sh", ["-c", "echo no space left >&2; exit 3"], 3, "no space left\n"],
  ["cannot be run", "/nowhere/prometheus", [], 127, "not found"],
] as const)("says why, when a program %s, and can end it all the same", async (_, file, args, exitCode, reason) => {
  const program = await supervise(file, [...args]);
  await expect.poll(program.exitCode).toBe(exitCode);
  await program.end();
  expect(program.output()).toContain(reason);
});

const ipc = ["ipcmk", "ipcs", "ipcrm", "sed"];
it("deletes the System V shared memory of a PostgreSQL that was killed", await needs(...ipc), async () => {
  const [segment = ""] = /\d+/.exec((await run("ipcmk", ["-M", "1"])).stdout) ?? [];
  const isThere = async () => (await run("ipcs", ["-m"])).stdout.includes(` ${segment} `);
  expect(await isThere()).toBe(true);
  const folder = await newFolder();
  await mkdir(path.join(folder, "data"));
  await writeFile(path.join(folder, "data/postmaster.pid"), `${"\n".repeat(6)}  5433001    ${segment}\n`);
  await (await supervise("sleep", ["600"], { folder })).end("SIGKILL");
  expect(await isThere()).toBe(false);
});

it("sends its signal again to a program that does not listen yet", async () => {
  const deafFirst = "trap '' TERM; echo deaf >&2; sleep 1; trap - TERM; exec sleep 600";
  const program = await supervise("/bin/sh", ["-c", deafFirst]);
  await expect.poll(program.output).toBe("deaf\n");
  await program.end();
  expect(program.exitCode()).toBe(128 + 15);
});

it("runs a program in a session of its own, out of reach of a terminal's Ctrl-C", await needs("ps"), async () => {
  const program = await supervise("sleep", ["600"]);
  onTestFinished(() => program.end());
  const { stdout } = await run("ps", ["-o", "sid=", "-p", `${program.pid},${process.pid}`]);
  expect(new Set(stdout.trim().split(/\s+/)).size).toBe(2);
});

it.each([
  ["that ends when it is asked to", "exec sleep 600"],
  ["that ignores the signal", "trap '' TERM; while :; do sleep 1; done"],
])("after SIGKILL of this process, ends a program %s and deletes its folder", async (_, command) => {
  const parent = runScript("test/programs/supervising.ts", [command]);
  const folder = await parent.printed(/ in (\S+)/);
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const pid = Number(await parent.printed(/program (\d+)/));
  expect(isAlive(pid)).toBe(true);
  parent.child.kill("SIGKILL");
  await expect.poll(() => isAlive(pid)).toBe(false);
  await expect.poll(() => existsSync(folder)).toBe(false);
});
