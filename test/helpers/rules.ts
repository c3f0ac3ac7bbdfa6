import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { findProgram } from "../../local/find-program.ts";

/**
 * The shipped rules in a hurry, for a test on a real engine. An alert has to hold for a second, and a sampler is silent
 * after 4 seconds. The last known value is looked for in every second of ten minutes.
 */
export function hurried(rules: string): string {
  return rules
    .replaceAll(/for: \d+m/g, "for: 1s")
    .replaceAll("interval: 5m", "interval: 1s")
    .replaceAll(/\[1[dh]:(30s|1m)\]/g, "[10m:1s]")
    .replace("> 180", "> 4");
}

/**
 * Runs files of unit tests of rules with an engine's own tool, in `folder`. Resolves to its output, also after
 * failures.
 */
export async function unitTest(tool: "promtool" | "vmalert-tool", folder: string, files: string[]): Promise<string> {
  const args =
    tool === "promtool"
      ? ["test", "rules", ...files]
      : ["unittest", "--disableAlertgroupLabel", ...files.flatMap((file) => ["--files", file])];
  const { file } = await findProgram(tool);
  const options = { cwd: folder, env: { ...process.env, TMPDIR: folder }, maxBuffer: 64 * 1024 * 1024 };
  while (true) {
    const { stdout, stderr } = await promisify(execFile)(file, args, options).catch((error) => error);
    // vmalert-tool has one port for everybody: another run has to end first.
    if (!stderr.includes("address already in use")) return stdout + stderr;
    await sleep(1_000);
  }
}
