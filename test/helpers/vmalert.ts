import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { findProgram } from "./find-program.ts";
import { newFolder } from "./temporary-folder.ts";

const rule = { alert: "Any", expr: "1", for: "1m", keep_firing_for: "1m" };

/**
 * Why the shipped rules cannot be tried on the vmalert that is here, such as Debian 12's 1.79. Undefined where they
 * can. Debian's programs do not say their version: it is asked by what it cannot do.
 */
export async function whyOldVmalert(): Promise<string | undefined> {
  const file = path.join(await newFolder(), "rule.yml");
  await writeFile(file, JSON.stringify({ groups: [{ name: "any", rules: [rule] }] }));
  const { file: vmalert } = await findProgram("vmalert");
  const { stdout = "", stderr = "" } = await promisify(execFile)(vmalert, ["-dryRun", `-rule=${file}`]).catch(
    (error) => error,
  );
  const isOld = /unknown fields in rule: keep_firing_for/.test(stdout + stderr);
  return isOld ? "VictoriaMetrics is older than 1.92: its vmalert knows no keep_firing_for" : undefined;
}
