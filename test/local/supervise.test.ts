// The supervisor of a program: it ends the program with this process, and deletes its folder.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { supervise } from "../../local/supervise.ts";
import { isAlive, runScript } from "../helpers/processes.ts";

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-supervised-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

it("ends a program with its signal, and deletes its folder", async () => {
  const folder = await temporaryFolder();
  const program = await supervise("sleep", ["60"], { folder });
  expect(isAlive(program.pid)).toBe(true);
  expect(program.exitCode()).toBeUndefined();
  await program.end();
  expect(isAlive(program.pid)).toBe(false);
  expect(program.exitCode()).toBe(128 + 15);
  expect(existsSync(folder)).toBe(false);
});

it("ends a program that has ended by itself, before or meanwhile", async () => {
  const program = await supervise("/bin/sh", ["-c", "echo no space left >&2; exit 3"]);
  await expect.poll(program.exitCode).toBe(3);
  await program.end();
  expect(program.output()).toBe("no space left\n");
});

it("says why a program cannot be run", async () => {
  const program = await supervise("/nowhere/prometheus", []);
  await expect.poll(() => program.exitCode()).toBe(127);
  expect(program.output()).toContain("not found");
});

it("keeps the folder of a program that is to run again", async () => {
  const folder = await temporaryFolder();
  const program = await supervise("sleep", ["60"], { folder, keepsFolder: true });
  await program.end("SIGKILL");
  expect(program.exitCode()).toBe(128 + 9);
  expect(existsSync(folder)).toBe(true);
});

it("runs a program in a session of its own, out of reach of a terminal's Ctrl-C", async () => {
  const program = await supervise("/bin/sh", ["-c", "ps -o sid= -p $$ >&2; exec sleep 60"]);
  onTestFinished(() => program.end("SIGKILL"));
  await expect.poll(program.output).toMatch(/\d/);
  const own = await supervise("/bin/sh", ["-c", `ps -o sid= -p ${process.pid} >&2`]);
  await expect.poll(own.exitCode).toBe(0);
  expect(Number(program.output())).not.toBe(Number(own.output()));
});

it.each([
  ["that ends when it is asked to", "exec sleep 60"],
  ["that ignores the signal", "trap '' TERM; while :; do sleep 1; done"],
])("after SIGKILL of this process, ends a program %s and deletes its folder", async (_, command) => {
  const parent = runScript("test/programs/supervising.ts", [command]);
  const folder = await parent.printed(/ in (\S+)/);
  const pid = Number(await parent.printed(/program (\d+)/));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  expect(isAlive(pid)).toBe(true);
  parent.child.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  await expect.poll(() => existsSync(folder)).toBe(false);
});
