import path from "node:path";
import { expect } from "vitest";
import { projectFolder, startProgram } from "./processes.ts";

// What people on call do: they source the file of their stage, answer what it asks, and run a command of it.

/** What config/on-call/write.sh takes. */
export const names = [
  "STAGE",
  "AWS_REGION",
  "PROMETHEUS_URL",
  "ALERTMANAGER_URL",
  "PUSHGATEWAY_URL",
  "PUSHGATEWAY_TOKEN",
  "HYPERSWITCH_URL",
  "DATABASE_URL",
  "PGSSLMODE",
  "PGSSLROOTCERT",
  "LEDGER_SCHEMA",
  "LEDGER_TIMEZONE",
] as const;
export type Addresses = Partial<Record<(typeof names)[number], string>>;

/** Where nothing answers. */
export const nowhere = "http://127.0.0.1:9";
/** As ./setup has them for a host, with Postgres on it. Nobody has an address yet. */
const usual: Addresses = {
  ...Object.fromEntries(names.map((name) => [name, ""])),
  STAGE: "prod",
  PROMETHEUS_URL: nowhere,
  ALERTMANAGER_URL: nowhere,
  PUSHGATEWAY_URL: nowhere,
  HYPERSWITCH_URL: nowhere,
  DATABASE_URL: "postgres://veza_ledger_oncall@127.0.0.1:9/nowhere",
  PGSSLMODE: "disable",
  LEDGER_SCHEMA: "public",
  LEDGER_TIMEZONE: "UTC",
};

/** Has config/on-call/write.sh write `file` with these addresses. Resolves to its exit code and its output. */
export const writeOnCall = (file: string, addresses: Addresses) =>
  startProgram("bash", ["-c", '. config/on-call/write.sh; write_on_call "$0"', file], { ...usual, ...addresses })
    .exited;

/** How a command is run: in which shell, with which programs, and what its person types after the first two secrets. */
export interface Typed {
  shell?: "bash" | "zsh";
  answers?: string[];
  /** Typed first: the password of veza_ledger_oncall, the key of Hyperswitch, and the gateway's where it is asked for. */
  secrets?: string[];
  /** The PATH. */
  programs?: string | undefined;
}

/**
 * Sources `file` in a shell without any settings of its own, and runs commands. Resolves to their exit code, and to what
 * they have printed, both outputs together.
 */
export async function onCall(file: string, commands: string, typed: Typed = {}) {
  const { shell = "bash", answers = [], secrets = ["oncall", "key"], programs = process.env.PATH } = typed;
  const args = shell === "bash" ? ["--norc"] : ["-f"];
  const environment = { PATH: programs, SHLVL: "1", PGPASSFILE: path.join(projectFolder, "none") };
  // What sourcing itself prints is of no interest here, unless it fails.
  const program = startProgram(
    shell,
    [...args, "-c", `. '${file}' >/dev/null 2>&1 || exit; ${commands}`],
    environment,
    "pipe",
  );
  program.child.stdin?.on("error", () => {}); // Commands that ask for nothing may have ended by now.
  program.child.stdin?.end([...secrets, ...answers, ""].join("\n"));
  return program.exited;
}

/** The same, of commands that have to work. Resolves to what they print. */
export async function done(...what: Parameters<typeof onCall>): Promise<string> {
  const { exitCode, output } = await onCall(...what);
  expect(exitCode, `${what[1]}: ${output}`).toBe(0);
  return output;
}

/** The same, of commands that have to fail. Resolves to what they print. */
export async function failed(...what: Parameters<typeof onCall>): Promise<string> {
  const { exitCode, output } = await onCall(...what);
  expect(exitCode, `${what[1]}: ${output}`).not.toBe(0);
  return output;
}
