import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";

export const projectFolder = path.join(import.meta.dirname, "..", "..");

export interface Program {
  child: ChildProcess;
  /** What it has printed so far, standard error included. */
  output(): string;
  /** Resolves with the first match in its output, or rejects with that output when it ends without one. */
  printed(pattern: RegExp): Promise<string>;
  /** Resolves at its end; its exit code is null when a signal ended it. */
  exited: Promise<{ exitCode: number | null; output: string }>;
}

type Environment = Record<string, string | undefined>;

/** Runs one of the project's TypeScript files as a program. */
export function runScript(file: string, args: string[], environment: Environment = {}): Program {
  return runProgram(process.execPath, [path.join(projectFolder, file), ...args], environment);
}

/** Runs a program in the project's folder; it is killed with the test, if it still runs then. */
export function runProgram(...what: Parameters<typeof startProgram>): Program {
  const program = startProgram(...what);
  onTestFinished(async () => {
    program.child.kill("SIGKILL");
    await program.exited;
  });
  return program;
}

/** Runs a program in the project's folder, for several tests, which have to end it. */
export function startProgram(
  command: string,
  args: string[],
  environment: Environment,
  stdin: "ignore" | "pipe" = "ignore",
): Program {
  // Both outputs are one pipe: from two, what was printed later may be read first.
  const child = spawn("/bin/sh", ["-c", 'exec "$0" "$@" 2>&1', command, ...args], {
    cwd: projectFolder,
    env: { ...process.env, ...environment },
    stdio: [stdin, "pipe", "ignore"],
  });
  let output = "";
  child.stdout?.on("data", (chunk) => {
    output += chunk;
    child.emit("printed");
  });
  const exited = once(child, "close").then(() => ({ exitCode: child.exitCode, output }));
  return {
    child,
    exited,
    output: () => output,
    printed: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(output);
          if (match) resolve(match[1] ?? match[0]);
        };
        child.on("printed", look);
        exited.then(() => reject(new Error(`ended without printing ${pattern}:\n${output}`)));
        look();
      }),
  };
}

/** Whether there is a process with this id. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The command lines of the programs on this machine that name this text there or in their environment. */
export async function programsNaming(text: string): Promise<string[]> {
  if (process.platform !== "linux") {
    const { stdout } = await promisify(execFile)("ps", ["axewwo", "args"]);
    const lines = stdout.split("\n").filter((line) => line.includes(text));
    return lines.map((line) => line.replace(/ \w+=.*/, ""));
  }
  const programs: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => ""); // It may have ended.
    const args = await read("cmdline");
    if (args && `${args}${await read("environ")}`.includes(text)) programs.push(args.replaceAll("\0", " ").trim());
  }
  return programs;
}
