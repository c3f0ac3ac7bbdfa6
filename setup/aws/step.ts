// Steps one after the other, each with its name and with what helps where it fails; the programs and the questions in
// between.
import { type ChildProcess, spawn } from "node:child_process";
import { Cancelled, ownTerminal, Refusal } from "../../commands/oncall/terminal.ts";
import { SettingsError } from "../../lib/settings/parse.ts";
import { Correction, type Stage } from "./stage.ts";

/** A step keeps what is there, says what it does, and can be run again after it was broken off anywhere. */
export interface Step {
  name: string;
  /** What helps where it fails, in a sentence. */
  remedy?: string;
  run(stage: Stage): Promise<void> | void;
}

let now: Step | undefined;

/** Runs the steps. Rejects with the error of the first that fails. */
export async function runSteps(steps: Step[], stage: Stage): Promise<void> {
  for (const step of steps) {
    now = step;
    console.log(`\n== ${step.name}`);
    await step.run(stage);
  }
  now = undefined;
}

let child: ChildProcess | undefined;
let isBrokenOff = false;
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Ends this process after a signal, when the program that it waits for has ended. */
function endAfter(signal: NodeJS.Signals): void {
  if (!child) {
    stopped(true);
    process.exit(130);
  }
  isBrokenOff = true;
  if (signal !== "SIGINT") child.kill(signal); // A terminal sends its Ctrl-C to both.
}

/** Runs a command; resolves to its exit code. Below an error, it says where that was, and what helps. */
export async function orSay(work: () => Promise<number>): Promise<number> {
  for (const signal of signals) process.on(signal, endAfter);
  try {
    return await work();
  } catch (error) {
    if (error instanceof Cancelled) {
      stopped(true);
      return 130;
    }
    const isRemedy = error instanceof Correction || error instanceof Refusal || error instanceof SettingsError;
    console.error(isRemedy || error instanceof ProgramFailed ? error.message : wordsOf(error as Failure));
    stopped(!isRemedy);
    return 1;
  }
}

/** Leaves signals to `work`, which ends after one by itself. */
export async function withOwnSignals<T>(work: () => Promise<T>): Promise<T> {
  for (const signal of signals) process.off(signal, endAfter);
  return await work();
}

function stopped(hasRemedy: boolean): void {
  const remedy = hasRemedy && now?.remedy ? `${now.remedy} ` : "";
  if (now) console.error(`Stopped at: ${now.name}. ${remedy}Run the same line again: what is done is kept.`);
}

type Failure = Error & { $metadata?: object; severity?: string; detail?: string; hint?: string; code?: unknown };

/** The words of AWS, Postgres and Node's network. The stack is for an error of this program. */
function wordsOf(error: Failure): string {
  const { name, message, stack, $metadata, severity, detail, hint, code } = error;
  if (/ProviderError$/.test(name)) {
    return `${message}\nThis shell needs AWS credentials, such as a profile in AWS_PROFILE: docs/who-may-deploy.md`;
  }
  if ($metadata) return `AWS: ${name}: ${message}`;
  if (severity) return [`Postgres: ${message}`, detail, hint].filter(Boolean).join("\n");
  return code ? message || String(code) : (stack ?? message); // Node's own and postgres.js' have the code in it.
}

/**
 * Runs a program on this terminal; resolves to its exit code. No secret is in its words: `ps` shows them. Rejects with
 * Cancelled where somebody has broken it off, whatever its code.
 */
export async function program(words: string[], environment: NodeJS.ProcessEnv = {}): Promise<number> {
  const [command = "", ...args] = words;
  const started = spawn(command, args, { stdio: "inherit", env: { ...process.env, ...environment } });
  child = started;
  try {
    return await new Promise((resolve, reject) => {
      started.on("error", () => reject(new Correction(`There is no ${command} on this machine: install it.`)));
      started.on("close", (code, signal) =>
        isBrokenOff || signal || code === 130 ? reject(new Cancelled("^C")) : resolve(code ?? 1),
      );
    });
  } finally {
    child = undefined;
  }
}

/** A program has failed, and has said why. */
export class ProgramFailed extends Error {}

/** The terminal of this process. */
export const terminal = ownTerminal();

/** Whether somebody says yes to a question, in this word. Says so where nobody does. */
export async function agrees(question: string): Promise<boolean> {
  const isYes = (await terminal.line(`${question} (yes or no)`)) === "yes";
  if (!isYes) console.log("Kept, without a yes.");
  return isYes;
}

/** What most steps on AWS need. */
export const rights = "If a right is missing: docs/who-may-deploy.md.";
