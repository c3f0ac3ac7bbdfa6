import { writeFile } from "node:fs/promises";
import path from "node:path";
import { onCallProgram } from "../../deploy/on-call.ts";
import { oldestNode } from "./oldest-node.ts";
import { type Addresses, environmentOf, type Typed, usual, worked } from "./on-call.ts";
import { startProgram } from "./processes.ts";
import { newFolder } from "./temporary-folder.ts";

// The file of a stage, as people on call have it.

/** The program without addresses. */
const bundle = path.join(await newFolder(), "oncall.mjs");
await writeFile(bundle, await onCallProgram());

/** Has the program write the file of a stage with these addresses. Resolves to its exit code and its output. */
export const writeOnCall = (file: string, addresses: Addresses) =>
  startProgram(process.execPath, [bundle, "write-stage", file], { ...usual, ...addresses }).exited;

/** A file of people on call with these addresses, in a folder of its own. */
export async function fileWith(addresses: Addresses): Promise<string> {
  const file = path.join(await newFolder(), "on-call.mjs");
  await writeOnCall(file, addresses);
  return file;
}

/** Node's option for a program whose pauses take no time. */
const withoutPauses = `--import=data:text/javascript,${encodeURIComponent(`
  import timers from "node:timers/promises";
  import { syncBuiltinESMExports } from "node:module";
  timers.setTimeout = async () => {};
  syncBuiltinESMExports();
`)}`;

/** People on call may have an older Node than the tests. ONCALL_NODE=/usr/bin/node tries another. */
const theirNode = process.env.ONCALL_NODE ?? (await oldestNode());

/**
 * Runs a command of `file`, by their Node unless another is given. Resolves to its exit code, null where it did not end
 * within 90 s, and to what it has printed, both outputs together.
 */
export async function runFile(file: string, command: string, typed: Typed = {}, node = theirNode) {
  const environment = { ...environmentOf(typed), NODE_OPTIONS: withoutPauses };
  const program = startProgram("/bin/sh", ["-c", `exec '${node}' '${file}' ${command}`], environment, "pipe");
  program.child.stdin?.on("error", () => {}); // Commands that ask for nothing may have ended by now.
  program.child.stdin?.end([...(typed.answers ?? []), ""].join("\n"));
  const limit = setTimeout(() => program.child.kill("SIGKILL"), 90_000);
  return program.exited.finally(() => clearTimeout(limit));
}

/** The same, of commands that have to work. Resolves to what they print. */
export const fileDone = (...what: Parameters<typeof runFile>) => worked(what[1], runFile(...what));
