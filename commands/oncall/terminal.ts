// What a person on call sees and types.
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { styleText } from "node:util";

/** A command did nothing, or not all: its lines say why, and what helps. */
export class Refusal extends Error {
  readonly lines: string[];
  constructor(...lines: string[]) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

/** Somebody pressed Ctrl-C. */
export class Cancelled extends Refusal {}

export interface Terminal {
  /** How many columns a table may have: all, where the output is no terminal. */
  columns: number;
  /** Prints the answer. */
  print(...lines: string[]): void;
  /** Prints what is none: why, and what to do. */
  say(...lines: string[]): void;
  /** Asks for a line. An empty one also stands for the end of the input. */
  line(question: string): Promise<string>;
  /** Asks for a line that is not shown, and that no history has. */
  secret(question: string): Promise<string>;
  /** Asks for a command, with a history and completion by Tab. Undefined at the end of the input. */
  command(prompt: string, complete: (line: string) => [string[], string]): Promise<string | undefined>;
  /** Refuses, unless a person writes yes. `what` is for what. */
  confirmed(what: string): Promise<void>;
  strong(text: string): string;
}

interface Question {
  isHidden?: boolean;
  history?: string[];
  completer?: (line: string) => [string[], string];
}

/** The terminal of this process. Questions go to standard error, so that answers can be piped. */
export function ownTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  const isColoured = stdout.isTTY && !process.env.NO_COLOR;
  let typed: AsyncIterator<string> | undefined;
  let history: string[] = [];

  const ask = async (text: string, { isHidden = false, history: past, completer }: Question = {}) => {
    if (!stdin.isTTY) {
      stderr.write(past ? "" : text);
      typed ??= createInterface({ input: stdin })[Symbol.asyncIterator]();
      const { done, value } = await typed.next();
      if (isHidden) stderr.write("\n");
      return done ? undefined : value;
    }
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
    if (isHidden) stderr.write(text);
    const asking = createInterface({
      input: stdin,
      output: isHidden ? silent : stderr,
      terminal: true,
      historySize: past ? 500 : 0,
      ...(past && { history: [...past], removeHistoryDuplicates: true }),
      ...(completer && { completer }),
    });
    asking.on("history", (lines) => {
      if (past) history = lines;
    });
    try {
      return await new Promise<string | undefined>((resolve, reject) => {
        asking.once("SIGINT", () => reject(new Cancelled("^C")));
        asking.once("close", () => resolve(undefined));
        asking.question(isHidden ? "" : text, resolve);
      });
    } finally {
      asking.close();
      if (isHidden) stderr.write("\n");
    }
  };

  const line = async (question: string) => (await ask(`${question}: `))?.trim() ?? "";

  return {
    columns: stdout.isTTY ? stdout.columns : Number.POSITIVE_INFINITY,
    print: (...lines) => void stdout.write(lines.map((line) => `${line}\n`).join("")),
    say: (...lines) => void stderr.write(lines.map((line) => `${line}\n`).join("")),
    line,
    async confirmed(what) {
      if ((await line(`Write yes ${what}`)) !== "yes") throw new Refusal("Nothing is done.");
    },
    secret: async (question) => (await ask(`${question}: `, { isHidden: true })) ?? "",
    command: (prompt, completer) => ask(prompt, { history, completer }),
    strong: (text) => (isColoured ? styleText("bold", text) : text),
  };
}

/** The words of a line: a word in quotes may have blanks. */
export function wordsOf(line: string): string[] {
  const words = line.match(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g) ?? [];
  if (words.join("").replaceAll(/\s/g, "").length < line.replaceAll(/\s/g, "").length) {
    throw new Refusal("A quote is open: nothing was done.");
  }
  return words.map((word) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, (_, one = "", two = "") => one + two));
}
