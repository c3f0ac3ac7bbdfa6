import { PassThrough, Writable } from "node:stream";
import { expect } from "vitest";
import type { Stage } from "../../commands/oncall/stage.ts";
import { ownTerminal, type Streams, wordsOf } from "../../commands/oncall/terminal.ts";
import { stageOf } from "../../commands/oncall/write.ts";
import { runFor } from "../../commands/oncall.ts";
import { setEnvironment } from "./environment.ts";

// What people on call do: they run a command for a stage, and answer what it asks. on-call-file.ts does it by the file
// of the stage.

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
export const usual: Addresses = {
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

/** A stage with these addresses. */
export const stageWith = (addresses: Addresses): Stage => stageOf({ ...usual, ...addresses });

/** How a command is run, with which programs, and what its person types. */
export interface Typed {
  answers?: string[];
  /** The password of veza_ledger_oncall, the key of Hyperswitch, and the gateway's where it is asked for. */
  secrets?: string[];
  /** The PATH. */
  programs?: string | undefined;
}

/** What a person has in the environment. */
export function environmentOf({ secrets = ["oncall", "key"], programs = process.env.PATH }: Typed) {
  const [LEDGER_PASSWORD, HYPERSWITCH_API_KEY, GATEWAY_SECRET] = secrets;
  return { PATH: programs, LEDGER_PASSWORD, HYPERSWITCH_API_KEY, GATEWAY_SECRET };
}

interface Ran {
  exitCode: number | null;
  /** Both outputs together. */
  output: string;
}

/** Runs a command of `stage` in this process, which has no terminal. */
export async function onCall(stage: Stage, command: string, typed: Typed = {}): Promise<Ran> {
  let output = "";
  const shown = new Writable({
    write(chunk, _encoding, done) {
      output += chunk;
      done();
    },
  });
  const stdin = new PassThrough();
  stdin.end([...(typed.answers ?? []), ""].join("\n"));
  const environment = environmentOf(typed);
  const before = Object.fromEntries(Object.keys(environment).map((name) => [name, process.env[name]]));
  setEnvironment(environment);
  try {
    const terminal = ownTerminal({ stdin, stdout: shown, stderr: shown } as unknown as Streams);
    return { exitCode: await runFor(stage, wordsOf(command) ?? [], terminal), output };
  } finally {
    setEnvironment(before);
  }
}

/** Resolves to what a command prints that has to work. */
export async function worked(command: string, ran: Promise<Ran>): Promise<string> {
  const { exitCode, output } = await ran;
  expect(exitCode, `${command}: ${output}`).toBe(0);
  return output;
}

/** Runs a command that has to work. Resolves to what it prints. */
export const done = (...what: Parameters<typeof onCall>) => worked(what[1], onCall(...what));

/** The same, of commands that have to fail. Resolves to what they print. */
export async function failed(...what: Parameters<typeof onCall>): Promise<string> {
  const { exitCode, output } = await onCall(...what);
  expect(exitCode, `${what[1]}: ${output}`).not.toBe(0);
  return output;
}
