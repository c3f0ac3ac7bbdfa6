import { renameSync, rmSync, writeFileSync } from "node:fs";

/** Writes the whole of a file, or nothing, as on a full disk. Throws where it fails. */
export function put(file: string, text: string): void {
  try {
    writeFileSync(`${file}.part`, text);
    renameSync(`${file}.part`, file);
  } finally {
    rmSync(`${file}.part`, { force: true });
  }
}
