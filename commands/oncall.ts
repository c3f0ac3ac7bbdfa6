// The commands of people on call, for one stage: deploy/on-call.ts makes its file. With words, it runs a command
// and ends; without, it asks for commands until Ctrl-D.
import { readFile } from "node:fs/promises";
import { orAbort } from "../lib/deadline.ts";
import { start } from "./command.ts";
import type { Command, Context } from "./oncall/command.ts";
import { correctionCommands } from "./oncall/corrections.ts";
import { checkNames, ledgerCommands } from "./oncall/ledger.ts";
import { logCommands } from "./oncall/log.ts";
import { monitoringCommands } from "./oncall/monitoring.ts";
import { ledgerOf } from "./oncall/postgres.ts";
import { reconcilerCommands } from "./oncall/reconciler.ts";
import { serversOf } from "./oncall/servers.ts";
import { Cancelled, ownTerminal, Refusal, type Terminal, wordsOf } from "./oncall/terminal.ts";
import { writeAndTry } from "./oncall/write.ts";

/** By night, and then by day, as help lists them. */
export const commands: Command[] = [
  ...ledgerCommands,
  ...logCommands,
  ...monitoringCommands,
  ...reconcilerCommands,
  ...correctionCommands,
];

/** What help says: of all commands, or of one. */
export function helpOf(name?: string): string[] {
  const explained = commands.filter((command) => name === undefined || command.name === name);
  if (explained.length === 0) throw new Refusal(`There is no command ${name}. help lists them.`);
  const wrapped = (text: string) => text.match(/.{1,76}(?: |$)/g)?.map((line) => `    ${line.trimEnd()}`) ?? [];
  return [
    ...(name === undefined ? ["help COMMAND says this of one of them."] : []),
    ...explained.flatMap(({ calls, help }) => [calls.join(", "), ...wrapped(help)]),
  ];
}

/** What Tab completes: the names of commands, and the words that may follow one. */
export function complete(line: string): [string[], string] {
  const words = line.split(/\s+/);
  const last = words.at(-1) ?? "";
  const place = words.length - 1;
  const command = commands.find(({ name }) => name === words[0]);
  const all = command?.calls.flatMap((call) => {
    const word = call.split(" ")[place] ?? "";
    return word === "CHECK" ? checkNames : /^[a-z]+$/.test(word) ? [word] : [];
  });
  const choices = place === 0 || words[0] === "help" ? ["help", ...commands.map(({ name }) => name)] : (all ?? []);
  return [choices.filter((each) => each.startsWith(last)).map((each) => `${each} `), last];
}

/** Runs one command. Resolves to its exit code. It says nothing of what fails since `signal` has aborted. */
async function runOne(context: Context, [name = "help", ...words]: string[], signal?: AbortSignal): Promise<number> {
  try {
    const command = commands.find((each) => each.name === name);
    if (name === "help") context.print(...helpOf(words[0]));
    else if (!command) throw new Refusal(`There is no command ${name}. help lists them.`);
    else if (words.length === 1 && words[0] === "help") context.print(...helpOf(name));
    else await command.run(context, ...words);
    return 0;
  } catch (error) {
    if (signal?.aborted) return 130;
    if (!(error instanceof Refusal)) throw error;
    context.say(...error.lines);
    return error instanceof Cancelled ? 130 : 1;
  } finally {
    await context.ledger.close();
  }
}

/** Asks for commands, and runs them, until the end of the input. */
async function prompt(context: Context): Promise<number> {
  const { command, ledger, print, say, stage } = context;
  print("help lists the commands. Tab completes, Ctrl-D leaves.");
  const tried = await ledger.read(async () => true).catch((error) => error as Error); // Asks for the password.
  if (tried instanceof Refusal) say(...tried.lines);
  await ledger.close();
  for (;;) {
    const line = await command(`${stage.name || "ledger"}> `, complete).catch((error) => {
      if (error instanceof Cancelled) return "";
      throw error;
    });
    if (line === undefined) return 0;
    let words: string[] = [];
    try {
      words = wordsOf(line);
    } catch (error) {
      say((error as Error).message);
    }
    if (words.length === 0) continue;
    if (/^(exit|quit|\\q)$/.test(words[0] ?? "")) return 0;
    const cancel = new AbortController();
    const interrupt = () => {
      cancel.abort(new Cancelled("Stopped. What was not yet written stays as it was."));
      void ledger.close(); // A transaction that is open is taken back.
    };
    process.on("SIGINT", interrupt);
    await orAbort(runOne(context, words, cancel.signal), cancel.signal).catch((error: Error) =>
      say(...(error instanceof Refusal ? error.lines : [String(error.stack)])),
    );
    process.off("SIGINT", interrupt);
  }
}

async function run(words: string[], terminal: Terminal): Promise<number> {
  const stage = globalThis.stageOnCall;
  const [command, file] = words;
  if (command === "write-stage" && file) {
    return writeAndTry(file, process.env, await readFile(import.meta.filename, "utf8"), terminal);
  }
  if (!stage) {
    terminal.say(
      "This file has no addresses. Write that of your stage with ./setup oncall, or deploy/aws.sh oncall STAGE.",
    );
    return 1;
  }
  const context = { ...terminal, stage, ledger: ledgerOf(stage, terminal), servers: serversOf(stage, terminal) };
  return words.length > 0 ? runOne(context, words) : prompt(context);
}

if (import.meta.main) await start((words) => run(words, ownTerminal()));
