// Deadlines: what gives up, what keeps the process alive, and what leaves no listener behind.

import { execFile } from "node:child_process";
import { getEventListeners } from "node:events";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { orAbort, stayAwake, withAnyOf } from "../../lib/deadline.ts";
import { projectFolder } from "../helpers/processes.ts";

it.each([
  ["ends before the deadline when nothing keeps it awake", "waiting", ""],
  ["stays alive until the deadline when it is kept awake", "stayAwake(waiting)", "the test: no answer within 100 ms\n"],
])("a process that waits for nothing else %s", async (_, waiting, printed) => {
  const source = `
    import { deadline, orAbort, stayAwake } from "./lib/deadline.ts";
    const waiting = orAbort(new Promise(() => {}), deadline("the test", 100));
    ${waiting}.catch((error) => console.log(error.message));`;
  const args = ["--input-type=module-typescript", "-e", source];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: projectFolder });
  expect(stdout).toBe(printed);
});

it("does not keep the process alive for work that is done", async () => {
  const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  await stayAwake(Promise.resolve());
  await expect(stayAwake(Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout")).toHaveLength(before);
});

it("gives up with the first signal that aborts, or has aborted, and leaves no listener behind", async () => {
  const never = new Promise(() => {});
  const [first, second] = [new AbortController(), new AbortController()];
  const wait = (signals: AbortSignal[]) => withAnyOf(signals, (signal) => orAbort(never, signal));
  const waiting = wait([first.signal, second.signal]);
  second.abort(new Error("second"));
  await expect(waiting).rejects.toThrow("second");
  await expect(wait([first.signal, AbortSignal.abort(new Error("before"))])).rejects.toThrow("before");
  expect(getEventListeners(first.signal, "abort")).toEqual([]);
});
