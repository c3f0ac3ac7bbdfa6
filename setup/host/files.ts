// Files of a host: read whole, and written whole or not at all.
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** Why a step does not go on, in a sentence that says what helps. */
export class Stop extends Error {}

/** A file's text; undefined where there is none. Throws where it cannot be read. */
export function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Writes a file beside its place, and moves it there. Throws a Stop, as where the disk is full. */
export function put(file: string, text: string, mode: number): void {
  try {
    writeFileSync(`${file}.new`, text, { mode: 0o600 });
    chmodSync(`${file}.new`, mode);
    renameSync(`${file}.new`, file);
  } catch (error) {
    rmSync(`${file}.new`, { force: true });
    throw new Stop(`${file} cannot be written: ${(error as Error).message}`);
  }
}
