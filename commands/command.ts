// What all commands have in common: options, usage, exit codes, and the end of the process.
import path from "node:path";
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { stayAwake } from "../lib/deadline.ts";

/** Whether this is the archive for a host, where a command is one file of JavaScript: there is no npm and no demo. */
export const inArchive = import.meta.filename.endsWith(".mjs");

/** How a command is called here, up to its arguments: to be pasted in the project's folder, or anywhere on a host. */
export const callOf = (name: "serve" | "doctor" | "send"): string =>
  inArchive ? `${path.join(import.meta.dirname, "../bin/veza-ledger-metrics")} ${name}` : `npm run ${name} --`;

/** Where a command prints its lines. */
export type Out = Pick<Console, "log" | "error">;

/** Runs a command, with the settings of this process. Takes its arguments; resolves to its exit code. */
export type Run = (args: string[], out: Out) => Promise<number>;

/** A call that makes no sense. */
export class Misuse extends Error {}

type Values<Options extends ParseArgsOptionsConfig> = ReturnType<typeof parseArgs<{ options: Options }>>["values"];

/**
 * Makes a command of `work`, which gets the values of `options` and the other arguments. With --help, or after a
 * Misuse, the command says how it is used; its exit code is then 0 or 2.
 */
export function command<Options extends ParseArgsOptionsConfig>(
  usage: string,
  options: Options,
  work: (values: Values<Options>, positionals: string[], out: Out) => Promise<number>,
): Run {
  return async (args, out) => {
    try {
      const help = { help: { type: "boolean", short: "h" } } as const;
      const parsed = parseArgs({ args, options: { ...options, ...help }, allowPositionals: true });
      if (!("help" in parsed.values)) return await work(parsed.values as Values<Options>, parsed.positionals, out);
      out.log(usage);
      return 0;
    } catch (error) {
      const { code, message } = error as Error & { code?: unknown };
      if (!(error instanceof Misuse) && !String(code).startsWith("ERR_PARSE_ARGS")) throw error;
      // An argument that was not understood may be a connection string with a password.
      out.error(`${message.replace(/\S*(:\/\/|@|=).*/s, "…")}\n\n${usage}`);
      return 2;
    }
  };
}

/** Runs a command as this process, and ends with it: what waits for a lost connection would go on. */
export async function start(run: Run): Promise<never> {
  // `npm run doctor | head` closes the pipe: nobody reads the rest, and the command goes on to its exit code.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
  process.exit(await stayAwake(run(process.argv.slice(2), console)));
}
