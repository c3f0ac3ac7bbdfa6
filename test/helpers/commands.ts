import type { Run } from "../../commands/command.ts";
import { setEnvironment } from "./environment.ts";
import { timeScript } from "./processes.ts";

export interface Ran {
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

/**
 * The same in a process with nothing else in it, which a lost connection could end early. `tookMs` is by stopwatch.ts.
 */
export async function inItsOwnProcess(
  name: "doctor" | "migrate" | "send",
  args: string[],
  variables: Record<string, string | undefined>,
): Promise<Ran & { tookMs: number }> {
  const program = await timeScript(`commands/${name}.ts`, args, variables);
  const tookMs = await program.tookMs;
  return { exitCode: program.child.exitCode ?? -1, output: program.output().replace(/\n$/, ""), tookMs };
}
