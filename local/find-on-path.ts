import { access, constants } from "node:fs/promises";
import path from "node:path";

/** The absolute path of the first of these programs that is on the PATH, or undefined. */
export async function findOnPath(names: string[]): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter).filter(Boolean)) {
    for (const name of names) {
      const file = path.resolve(folder, name);
      if (await isExecutable(file)) return file;
    }
  }
  return undefined;
}

/** Whether there is a file here that this process may run. */
export async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}
