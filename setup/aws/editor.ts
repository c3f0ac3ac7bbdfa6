// Opens a file for a person.
import { program } from "./step.ts";

/** It may have options, as `code --wait` does. npm sets vi where the shell has none. */
export const editor = process.env.EDITOR || "vi";

/** Whether there is somebody to edit: without a terminal, vi would hold up a pipeline. */
export const hasEditor = (): boolean => editor !== "vi" || Boolean(process.stdin.isTTY && process.stdout.isTTY);

/** Opens a file in the editor; resolves to its exit code. */
export const edit = (file: string): Promise<number> => program(["sh", "-c", `${editor} "$1"`, "sh", file]);
