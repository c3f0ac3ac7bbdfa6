import { findOnPath } from "../../local/find-on-path.ts";

declare module "vitest" {
  interface TaskMeta {
    /** Why the test is skipped; the run's last lines repeat it. */
    skippedBecause?: string;
  }
}

/** Options of a test or a block that is skipped for this reason, where there is one. */
export const skippedBecause = (reason: string | false | undefined) =>
  reason ? { skip: true, meta: { skippedBecause: reason } } : { skip: false };

/** Options of a test or a block that is skipped where one of these programs is not on the PATH. */
export async function needs(...programs: string[]) {
  const missing: string[] = [];
  for (const name of programs) if (!(await findOnPath([name]))) missing.push(name);
  return skippedBecause(missing.length > 0 && `not on the PATH: ${missing.join(", ")}`);
}
