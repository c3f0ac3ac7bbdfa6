// All commands, and what is said of them.
import { acceptCommands } from "./accept.ts";
import { bankCommands } from "./bank.ts";
import { checkNames } from "./checks.ts";
import type { Command } from "./command.ts";
import { correctionCommands } from "./corrections.ts";
import { ledgerCommands } from "./ledger.ts";
import { logCommands } from "./log.ts";
import { monitoringCommands } from "./monitoring.ts";
import { reconcilerCommands } from "./reconciler.ts";
import { retireCommands } from "./retire.ts";
import { rowsCommands } from "./rows.ts";
import { silenceCommands } from "./silence.ts";
import { sqlCommands } from "./sql.ts";
import { takebackCommands } from "./takeback.ts";
import { Refusal } from "./terminal.ts";
import { whySilentCommands } from "./why-silent.ts";

/** The commands, as help groups and lists them. */
const groups: [title: string, commands: Command[]][] = [
  [
    "By night:",
    [
      ...rowsCommands,
      ...acceptCommands,
      ...bankCommands,
      ...whySilentCommands,
      ...logCommands,
      ...reconcilerCommands,
      ...ledgerCommands,
      ...sqlCommands,
      ...monitoringCommands,
      ...silenceCommands,
    ],
  ],
  ["By day, corrections:", [...takebackCommands, ...correctionCommands, ...retireCommands]],
];
export const commands: Command[] = groups.flatMap(([, commands]) => commands);

/** What help says at 80 columns: of all commands, or of one. Refuses an unknown name. */
export function helpOf(name?: string): string[] {
  const wrapped = (text: string) => text.match(/.{1,76}(?: |$)/g)?.map((line) => `    ${line.trimEnd()}`) ?? [];
  const explained = ({ calls, help }: Command) => [calls.join(", "), ...wrapped(help)];
  if (name === undefined) {
    return [
      "help COMMAND says this of one of them.",
      ...groups.flatMap(([title, commands]) => ["", title, ...commands.flatMap(explained)]),
    ];
  }
  const command = commands.find((each) => each.name === name);
  if (!command) throw new Refusal(`There is no command ${name}. help lists them.`);
  return explained(command);
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
