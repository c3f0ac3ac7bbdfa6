// What a person on call sees and types.
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { stripVTControlCharacters, styleText } from "node:util";
import { orAbort } from "../../lib/deadline.ts";
import { wrapped } from "./table.ts";

/** A command did nothing, or not all: its lines say why, and what helps. */
export class Refusal extends Error {
  readonly lines: string[];
  constructor(...lines: string[]) {
    super(lines.join("\n"));
    this.lines = lines;
  }
}

/** Somebody pressed Ctrl-C, or Ctrl-D at a secret. */
export class Cancelled extends Refusal {}
const stopped = "Stopped. Nothing more was done.";

export type Completer = (line: string) => [string[], string];

export interface Terminal {
  /** Whether a person can be asked again. */
  isInteractive: boolean;
  /** How many columns a table may have: all, where the output is no terminal. */
  columns: number;
  /** Prints the answer. */
  print(...lines: string[]): void;
  /** Prints lines of others, such as those of a log, without breaking them at the terminal's width. */
  printAsIs(...lines: string[]): void;
  /** Prints to standard error what is no answer: why there is none, and what to do. */
  say(...lines: string[]): void;
  /** Asks for a line. An empty one also stands for the end of the input. */
  line(question: string): Promise<string>;
  /** Asks for a line that is not shown, that no history has, and that was not typed before the question. */
  secret(question: string): Promise<string>;
  /** Asks for a command, with a history and completion by Tab. Undefined at the end of the input. */
  command(prompt: string, complete: Completer): Promise<string | undefined>;
  /** Refuses, unless a person then writes yes. `what` is for what. */
  confirmed(what: string): Promise<void>;
  strong(text: string): string;
  /** Runs a program that has the terminal for itself, and Ctrl-C with it. */
  lend<T>(program: () => Promise<T>): Promise<T>;
  /** Runs `work`, whose signal aborts with Cancelled at Ctrl-C. Settles as it does, or rejects at Ctrl-C. */
  interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

interface Question {
  isHidden?: boolean;
  history?: string[];
  completer?: Completer;
}

/** Where a person types and reads. */
export type Streams = Pick<NodeJS.Process, "stdin" | "stdout" | "stderr">;

/** The terminal of this process. Questions go to standard error, so that answers can be piped. */
export function ownTerminal({ stdin, stdout, stderr }: Streams = process): Terminal {
  const isInteractive = stdin.isTTY === true;
  const isColoured = stdout.isTTY && !process.env.NO_COLOR;
  let piped: AsyncIterator<string> | undefined;
  /** Whole lines that came along with the one that was asked for, as when several are pasted. */
  let ahead: string[] = [];
  let history: string[] = [];
  const remember = (line: string) => {
    if (line.trim()) history = [line, ...history.filter((each) => each !== line)].slice(0, 500);
  };
  let isLent = false;

  const askPipe = async (text: string, isHidden: boolean) => {
    stderr.write(text);
    piped ??= createInterface({ input: stdin })[Symbol.asyncIterator]();
    const { done, value } = await piped.next();
    if (isHidden) stderr.write("\n");
    return done ? undefined : value;
  };

  const ask = async (text: string, { isHidden = false, history: past, completer }: Question = {}) => {
    if (!isInteractive) return askPipe(past ? "" : text, isHidden);
    const next = ahead.shift();
    if (next !== undefined) {
      stderr.write(`${text}${next}\n`);
      return next;
    }
    const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
    const asking = createInterface({
      input: stdin,
      output: isHidden ? silent : stderr,
      terminal: true,
      ...(past ? { history: [...past] } : { historySize: 0 }),
      ...(completer && { completer }),
    });
    // Only now does the terminal no longer show what is typed.
    if (isHidden) stderr.write(text);
    asking.on("line", (line) => ahead.push(line));
    try {
      return await new Promise<string | undefined>((resolve, reject) => {
        asking.once("SIGINT", () => {
          if (!isHidden) stderr.write("\n");
          reject(new Cancelled(stopped));
        });
        asking.once("close", () => resolve(undefined));
        asking.question(isHidden ? "" : text, resolve);
      });
    } catch (error) {
      ahead = [];
      throw error;
    } finally {
      asking.close();
      if (isHidden) stderr.write("\n");
    }
  };

  const line = async (question: string) => (await ask(`${question}: `))?.trim() ?? "";
  const strong = (text: string) => (isColoured ? styleText("bold", text) : text);
  const write = (stream: NodeJS.WriteStream, lines: string[]) => {
    const fitting = lines.flatMap((line) => fitted(line, columnsOf(stream), strong));
    stream.write(fitting.map((line) => `${line}\n`).join(""));
  };

  return {
    isInteractive,
    columns: columnsOf(stdout),
    print: (...lines) => write(stdout, lines),
    printAsIs: (...lines) => void stdout.write(lines.map((line) => `${line}\n`).join("")),
    say: (...lines) => write(stderr, lines),
    line,
    async confirmed(what) {
      ahead = [];
      if ((await line(`Write yes ${what}`)) !== "yes") throw new Refusal("Nothing is done.");
    },
    async secret(question) {
      ahead = [];
      const typed = await ask(`${question}: `, { isHidden: true });
      if (typed === undefined && isInteractive) throw new Cancelled(stopped);
      return typed ?? "";
    },
    async command(prompt, completer) {
      const typed = await ask(prompt, { history, completer });
      remember(typed ?? "");
      return typed;
    },
    strong,
    async lend(program) {
      isLent = true;
      return program().finally(() => {
        isLent = false;
      });
    },
    async interruptible(work) {
      const cancel = new AbortController();
      const interrupt = () => {
        if (!isLent) cancel.abort(new Cancelled("Stopped. What was not yet written stays as it was."));
      };
      process.on("SIGINT", interrupt);
      return orAbort(work(cancel.signal), cancel.signal).finally(() => process.off("SIGINT", interrupt));
    },
  };
}

/** How many columns a stream has: all, if it is no terminal. Some terminals report 0, such as those of containers. */
const columnsOf = ({ isTTY, columns }: NodeJS.WriteStream) => (isTTY ? columns || 80 : Number.POSITIVE_INFINITY);

/** A line in lines of at most `width` columns, broken between words. What goes on stands further to the right. */
function fitted(line: string, width: number, strong: (text: string) => string): string[] {
  const text = stripVTControlCharacters(line);
  if (text.length <= width) return [line];
  const indent = `${/^ */.exec(text)}  `;
  const [first = "", ...more] = wrapped(text, width - indent.length);
  const lines = [first, ...more.map((each) => indent + each)];
  return text === line ? lines : lines.map(strong);
}

/** The same terminal until `signal` aborts; whoever uses it after that is thrown what the signal aborted with. */
export function until(signal: AbortSignal, terminal: Terminal): Terminal {
  const ended =
    <Args extends unknown[], T>(use: (...args: Args) => T) =>
    (...args: Args): T => {
      signal.throwIfAborted();
      return use(...args);
    };
  return {
    ...terminal,
    print: ended(terminal.print),
    printAsIs: ended(terminal.printAsIs),
    say: ended(terminal.say),
    line: ended(terminal.line),
    secret: ended(terminal.secret),
    confirmed: ended(terminal.confirmed),
  };
}

/** The words of a line: a word in quotes may have blanks. Undefined where a quote is open. */
export function wordsOf(line: string): string[] | undefined {
  const words = line.match(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g) ?? [];
  if (words.join("").replaceAll(/\s/g, "").length < line.replaceAll(/\s/g, "").length) return undefined;
  return words.map((word) => word.replaceAll(/'([^']*)'|"([^"]*)"/g, (_, one = "", two = "") => one + two));
}
