import { spawn } from "node:child_process";
import type { Socket } from "node:net";

/** A program that runs in the background, and ends with this process at the latest. */
export interface Supervised {
  /** Of the program itself. */
  pid: number;
  /** Undefined while it runs. As a shell says it: 128 and the signal's number, when a signal ended it. */
  exitCode(): number | undefined;
  /** Resolves when it has ended. */
  exited: Promise<void>;
  /** The last 4,000 characters that it wrote to standard error. */
  output(): string;
  /**
   * Sends it a signal, each second again, and waits until it has ended and its folder is deleted. Kills it when that
   * takes over 10 s.
   */
  end(signal?: NodeJS.Signals): Promise<void>;
}

interface SuperviseOptions {
  env?: NodeJS.ProcessEnv;
  /** Whom to run as; only root can choose. */
  user?: { uid: number; gid: number } | undefined;
  /** The signal that asks this program to end. */
  endSignal?: NodeJS.Signals;
  /**
   * Deleted when the program has ended. With `keepsFolder`, it is deleted only when this process has died before the
   * program.
   */
  folder?: string;
  keepsFolder?: boolean;
}

/**
 * Stands between this process and the program. On file descriptor 3 it says the program's process id, and is told the
 * signals to send. That connection closes when this process dies, even by SIGKILL; then the supervisor ends the
 * program. With its folder, a PostgreSQL that was killed loses the System V segment that it left: line 7 of its
 * postmaster.pid has the key and the id.
 */
const supervisor = `
end=$1 folder=$2 keeps=$3
shift 3
"$@" 3<&- &
program=$!
trap '' PIPE
echo $program >&3
{
  while read -r signal <&3; do kill -s "$signal" $program; done
  kill -s "$end" $program
  for second in 1 2 3 4 5; do sleep 1; kill -0 $program || exit; done
  kill -s KILL $program
} >/dev/null 2>&1 &
guard=$!
wait $program
status=$?
kill $guard 2>/dev/null
if echo ended >&3 2>/dev/null && [ "$keeps" = true ] || [ -z "$folder" ]; then exit $status; fi
set -- $(sed -n 7p "$folder/data/postmaster.pid" 2>/dev/null)
[ -z "$2" ] || ipcrm -m "$2" 2>/dev/null
rm -rf "$folder"
exit $status`;

const endTimeoutMs = 10_000;
/** A program that has just been started ignores SIGINT, as a shell's background does, until it has its own handler. */
const signalEveryMs = 1_000;
const shortName = (signal: NodeJS.Signals) => signal.replace(/^SIG/, "");

/**
 * Runs a program in the background, in a session of its own: a terminal's Ctrl-C does not reach it, and this process
 * has to end it. However this process ends, the program ends with it, and its folder is deleted.
 *
 * Throws when the shell cannot be started. A program that cannot be run has exited, and its output says why.
 */
export async function supervise(
  file: string,
  args: string[],
  { env = process.env, user, endSignal = "SIGTERM", folder = "", keepsFolder = false }: SuperviseOptions = {},
): Promise<Supervised> {
  const how = [shortName(endSignal), folder, String(keepsFolder)];
  const child = spawn("/bin/sh", ["-c", supervisor, "sh", ...how, file, ...args], {
    ...user,
    cwd: "/", // `user` may not be able to enter the caller's folder.
    env,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  child.stderr?.on("data", (chunk) => {
    output = (output + chunk).slice(-4000);
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const control = child.stdio[3] as Socket;
  control.on("error", () => {}); // The program may have ended just before a signal is written.
  const pid = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    control.once("data", (line) => resolve(Number(line)));
    exited.then(() => resolve(0));
  });
  const exitCode = () => child.exitCode ?? (child.signalCode ? 1 : undefined);
  const tell = (signal: NodeJS.Signals) => control.write(`${shortName(signal)}\n`);
  return {
    pid,
    exitCode,
    exited,
    output: () => output,
    async end(signal = endSignal) {
      if (exitCode() === undefined) tell(signal);
      const repeating = setInterval(() => tell(signal), signalEveryMs);
      const killing = setTimeout(() => tell("SIGKILL"), endTimeoutMs);
      await exited;
      clearInterval(repeating);
      clearTimeout(killing);
    },
  };
}
