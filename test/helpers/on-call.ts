import { writeFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "vitest";
import { onCallProgram } from "../../deploy/on-call.ts";
import { startProgram } from "./processes.ts";
import { newFolder } from "./temporary-folder.ts";

// What people on call do: they run a command of the file of their stage, and answer what it asks.

/** What commands/oncall/write.ts takes. */
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

/** The program without addresses. */
const bundle = path.join(await newFolder(), "oncall.mjs");
await writeFile(bundle, await onCallProgram());

/** Has the program write the file of a stage with these addresses. Resolves to its exit code and its output. */
export const writeOnCall = (file: string, addresses: Addresses) =>
  startProgram(process.execPath, [bundle, "write-stage", file], { ...usual, ...addresses }).exited;

/** How a command is run, with which programs, and what its person types. */
export interface Typed {
  answers?: string[];
  /** The password of veza_ledger_oncall, the key of Hyperswitch, and the gateway's where it is asked for. */
  secrets?: string[];
  /** The PATH. */
  programs?: string | undefined;
}

/** Node's option for a program whose pauses take no time. */
const withoutPauses = `--import=data:text/javascript,${encodeURIComponent(`
  import timers from "node:timers/promises";
  import { syncBuiltinESMExports } from "node:module";
  timers.setTimeout = async () => {};
  syncBuiltinESMExports();
`)}`;

/** People on call may have an older Node than the tests: ONCALL_NODE=/usr/bin/node tries it. */
const { ONCALL_NODE: node = process.execPath } = process.env;

/** Runs a command of `file`. Resolves to its exit code, and to what it has printed, both outputs together. */
export async function onCall(file: string, command: string, typed: Typed = {}) {
  const { answers = [], secrets = ["oncall", "key"], programs = process.env.PATH } = typed;
  const [LEDGER_PASSWORD, HYPERSWITCH_API_KEY, GATEWAY_SECRET] = secrets;
  const environment = {
    NODE_OPTIONS: withoutPauses,
    PATH: programs,
    LEDGER_PASSWORD,
    HYPERSWITCH_API_KEY,
    GATEWAY_SECRET,
  };
  const program = startProgram("/bin/sh", ["-c", `'${node}' '${file}' ${command}`], environment, "pipe");
  program.child.stdin?.on("error", () => {}); // Commands that ask for nothing may have ended by now.
  program.child.stdin?.end([...answers, ""].join("\n"));
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
