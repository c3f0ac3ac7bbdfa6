// The commands of people on call, for one stage: commands/oncall/write.ts makes its file. With words, it runs a command
// and ends; without, it asks for commands until Ctrl-D.
import { readFile } from "node:fs/promises";
import { start } from "./command.ts";
import type { Context, Secrets } from "./oncall/command.ts";
import { commands, complete, helpOf } from "./oncall/commands.ts";
import { useProxies } from "./oncall/network.ts";
import { ledgerOf } from "./oncall/postgres.ts";
import { serversOf } from "./oncall/servers.ts";
import type { Stage } from "./oncall/stage.ts";
import { Cancelled, ownTerminal, Refusal, type Terminal, until, wordsOf } from "./oncall/terminal.ts";
import { writeAndTry } from "./oncall/write.ts";

/** What a command works with until `signal` aborts. */
function contextOf(stage: Stage, terminal: Terminal, secrets: Secrets, signal: AbortSignal): Context {
  const own = until(signal, terminal);
  const ledger = ledgerOf(stage, own, secrets, signal);
  return { ...own, stage, secrets, signal, ledger, servers: serversOf(stage, own, secrets, signal) };
}

async function runOne(context: Context, [name = "help", ...words]: string[]): Promise<void> {
  const command = commands.find((each) => each.name === name);
  if (/^(help|--help|-h)$/.test(name)) return context.print(...helpOf(words[0]));
  if (!command) throw new Refusal(`There is no command ${name}. help lists them.`);
  if (words.length === 1 && words[0] === "help") return context.print(...helpOf(name));
  await command.run(context, ...words);
}

/** Does `work` until it ends or somebody presses Ctrl-C. Resolves to the exit code of a command. */
async function attempt(stage: Stage, terminal: Terminal, secrets: Secrets, work: (context: Context) => Promise<void>) {
  try {
    await terminal.interruptible((signal) => {
      const context = contextOf(stage, terminal, secrets, signal);
      return work(context).finally(() => context.ledger.close());
    });
    return 0;
  } catch (error) {
    const lines =
      error instanceof Refusal ? error.lines : ["This program has a fault:", String((error as Error).stack)];
    terminal.say(...lines);
    return error instanceof Cancelled ? 130 : 1;
  }
}

/** Asks for commands, and runs them, until the end of the input. */
async function prompt(stage: Stage, terminal: Terminal): Promise<number> {
  const secrets: Secrets = {};
  terminal.print("help lists the commands. Tab completes, Ctrl-D leaves.");
  await attempt(stage, terminal, secrets, ({ ledger }) => ledger.read(async () => {})); // Asks for the password.
  for (;;) {
    const line = await terminal.command(`${stage.name || "ledger"}> `, complete).catch((error) => {
      if (error instanceof Cancelled) return "";
      throw error;
    });
    if (line === undefined) return 0;
    const words = wordsOf(line);
    if (words === undefined) terminal.say("A quote is open: nothing was done.");
    else if (/^(exit|quit|\\q)$/.test(words[0] ?? "")) return 0;
    else if (words.length > 0) await attempt(stage, terminal, secrets, (context) => runOne(context, words));
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
      "This file has no addresses. Write that of your stage with ./setup oncall, or npm run aws -- oncall STAGE.",
    );
    return 1;
  }
  useProxies();
  return runFor(stage, words, terminal);
}

/** Runs the command that these words are or, without a word, asks for commands. Resolves to the exit code. */
export async function runFor(stage: Stage, words: string[], terminal: Terminal): Promise<number> {
  if (words.length === 0) return prompt(stage, terminal);
  return attempt(stage, terminal, {}, (context) => runOne(context, words));
}

if (import.meta.main) await start((words) => run(words, ownTerminal()));
