import { access, mkdir, rmdir } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { runScript } from "../helpers/processes.ts";

// What a run of the tests leaves behind when it is interrupted.

const isThere = (folder: string) =>
  access(folder).then(
    () => true,
    () => false,
  );

it.each(["SIGINT", "SIGKILL"] as const)(
  "the temporary folder of a run is deleted after %s, behind the servers that end meanwhile",
  async (signal) => {
    const run = runScript("test/programs/temporary-folder.ts", [], { TEST_FOLDER: undefined });
    const folder = await run.printed(/folder (\S+)/);
    const server = path.join(folder, "veza-ledger-postgres-1");
    await mkdir(server);
    run.child.kill(signal);
    await run.exited;
    await sleep(500);
    expect(await isThere(server)).toBe(true);
    await rmdir(server);
    await expect.poll(() => isThere(folder)).toBe(false);
  },
);
