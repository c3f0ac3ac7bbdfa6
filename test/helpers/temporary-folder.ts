import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, statfsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

/** Ends with its standard input, and then waits until the servers that end meanwhile have left the folder. */
const guard = `
read -r _
for second in 1 2 3 4 5 6 7 8 9 10; do
  ls -d "$1"/veza-ledger-postgres-* >/dev/null 2>&1 || break
  sleep 1
done
rm -rf "$1"`;

/**
 * Gives this process, and all that it starts, a temporary folder of their own. However this process ends, by SIGKILL
 * too, the folder is deleted. It is in memory where there is room: each test database is 300 files, which take a
 * journaling file system up to 0.3 s of CPU time.
 */
export function useTemporaryFolder(): void {
  if (process.env.TEST_FOLDER) return; // Each project of vitest.config.ts reads that file again.
  const parent = process.env.TMPDIR || (isRoomy("/dev/shm") ? "/dev/shm" : tmpdir());
  const folder = mkdtempSync(path.join(parent, "t-"));
  chmodSync(folder, 0o1777); // PostgreSQL does not run as root.
  process.env.TMPDIR = folder;
  process.env.TEST_FOLDER = folder;
  const guarding = spawn("/bin/sh", ["-c", guard, "sh", folder], {
    cwd: "/",
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  guarding.unref();
  (guarding.stdin as Socket).unref();
}

/** A new folder in that folder, and gone with it. */
export const newFolder = (): Promise<string> => mkdtemp(path.join(tmpdir(), "veza-"));

/** Whether a folder is in memory, has 4 GB left, and lets programs run. */
function isRoomy(folder: string): boolean {
  const mounts = process.platform === "linux" ? readFileSync("/proc/mounts", "utf8") : "";
  const [, options] = new RegExp(`^tmpfs ${folder} tmpfs (\\S+)`, "m").exec(mounts) ?? [];
  if (!options || options.includes("noexec")) return false;
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize > 4 * 2 ** 30;
}
