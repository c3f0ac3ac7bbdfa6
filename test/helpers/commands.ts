import type { Run } from "../../commands/command.ts";
import { setEnvironment } from "./environment.ts";

interface Ran {
  exitCode: number;
  /** All that it printed, without the last newline. */
  output: string;
}

/**
 * Runs a command in this process, with these variables. The commands read the process's environment, so that a file
 * runs one at a time in this way.
 */
export async function inProcess(run: Run, args: string[], variables: Record<string, string | undefined>): Promise<Ran> {
  const before = Object.fromEntries(Object.keys(variables).map((name) => [name, process.env[name]]));
  const lines: string[] = [];
  const print = (line: string) => void lines.push(line);
  setEnvironment(variables);
  try {
    return { exitCode: await run(args, { log: print, error: print }), output: lines.join("\n") };
  } finally {
    setEnvironment(before);
  }
}
