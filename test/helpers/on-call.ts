import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { blocksOf } from "./pages.ts";

// What somebody on call does: pastes the block of the runbook, filled in, and then a command of an entry.

/** What the block asks to fill in. */
export const names = [
  "STAGE",
  "AWS_REGION",
  "PROMETHEUS_URL",
  "ALERTMANAGER_URL",
  "PUSHGATEWAY_URL",
  "HYPERSWITCH_URL",
  "DATABASE_URL",
  "PGSSLMODE",
] as const;
export type Filled = Record<(typeof names)[number], string>;

/** The block that all commands of the runbook need, as it is shipped. */
export const [block = ""] = await blocksOf("docs/runbook/block.md", "sh");

/** The block, filled in. Throws for a name that it does not export. */
export function fillIn(filled: Filled): string {
  return Object.entries(filled).reduce((text, [name, value]) => {
    const line = new RegExp(`^(export.*?) ?\\b${name}=\\S*`, "m");
    if (!line.test(text)) throw new Error(`docs/runbook/block.md does not export ${name}`);
    return text.replace(line, (_, before: string) => `${before} ${name}='${value}'`);
  }, block);
}

/**
 * Pastes the block and then a command into a bash, in `folder`, and answers what they ask: first the password, then the
 * key of Hyperswitch, then `answers`. Resolves to what is printed. Rejects when a command fails, or names a variable
 * that nothing has set.
 */
export async function paste(
  filled: Filled,
  command: string,
  { answers = [], path = process.env.PATH ?? "", cwd = "." }: { answers?: string[]; path?: string; cwd?: string } = {},
): Promise<string> {
  const script = `set -euo pipefail\n${fillIn(filled)}\n${command}`;
  const env = { PATH: path, HOME: process.env.HOME };
  // Without SHLVL, a bash whose input is a socket, as Node's are, would read its ~/.bashrc.
  const running = promisify(execFile)("bash", ["--norc", "-c", script], { cwd, env, timeout: 60_000 });
  running.child.stdin?.on("error", () => {}); // A command that asks for nothing may have ended by now.
  running.child.stdin?.end(["oncall", "key", ...answers, ""].join("\n"));
  return (await running).stdout;
}
