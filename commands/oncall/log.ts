// The log of the functions: on AWS by its CLI, else the host's journal.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { visibly } from "../quote.ts";
import type { Command, Context } from "./command.ts";
import type { Stage } from "./stage.ts";
import { Refusal } from "./terminal.ts";

export interface LogLine {
  time: string;
  /** Empty for a line that no function has written. */
  message: string;
  fields: Record<string, unknown>;
  /** The line as people read it, without its time. */
  text: string;
}

const run = promisify(execFile);
const maxBuffer = 2 ** 28;

/** Whether the service runs on this host. Undefined where it is not of this host. */
export async function isServiceActive(): Promise<boolean | undefined> {
  const systemctl = (...args: string[]) =>
    run("systemctl", args).then(
      () => true,
      () => false,
    );
  if (!(await systemctl("cat", "veza-ledger-metrics"))) return undefined;
  return systemctl("is-active", "-q", "veza-ledger-metrics");
}

/** All lines of the last such as 15m. Throws a Refusal where they cannot be read. */
export async function readLog(stage: Stage, of: string, span: string): Promise<LogLine[]> {
  return linesIn(stage.awsRegion ? await fromAws(stage, of, span) : await fromJournal(span));
}

async function fromAws(stage: Stage, of: string, span: string): Promise<string> {
  const group = `/aws/lambda/veza-ledger-metrics-${stage.name}-${of}`;
  const env = { ...process.env, AWS_REGION: stage.awsRegion };
  const tail = run("aws", ["logs", "tail", group, "--since", span, "--format", "short"], { env, maxBuffer });
  return tail.then(
    ({ stdout }) => stdout,
    (error) => {
      throw new Refusal(
        ...saidBy(error),
        "AWS does not show the log. Log in to AWS again. Whoever has no right to it: call the platform engineer.",
      );
    },
  );
}

async function fromJournal(span: string): Promise<string> {
  if ((await isServiceActive()) === undefined) {
    throw new Refusal("The log is on the host of the service, and this is another one: log in there.");
  }
  const args = ["-q", "-u", "veza-ledger-metrics", "--since", `-${span}`, "-o", "short-iso", "--no-hostname"];
  return run("journalctl", args, { maxBuffer }).then(
    ({ stdout }) => stdout,
    (error) => {
      throw new Refusal(
        ...saidBy(error),
        "Your login may not read the log: it has to be in the group systemd-journal.",
      );
    },
  );
}

const saidBy = ({ stderr, code }: { stderr?: string; code?: string }): string[] => {
  if (code === "ENOENT") return ["The program is not here."];
  return stderr?.trim() ? stderr.trim().split("\n").map(visibly) : [];
};

export const linesIn = (text: string): LogLine[] => text.split("\n").filter(Boolean).map(lineOf);

/** A line of the journal or of CloudWatch: a time, and JSON, which Lambda puts into an object of its own. */
function lineOf(line: string): LogLine {
  const [, time = "", rest = line] = /^([0-9]\S+) (?:\S+\[[0-9]+\]: )?(.*)$/.exec(line) ?? [];
  const parsed = objectIn(rest);
  const { message, level: _, ...fields } = (isObject(parsed?.message) ? parsed.message : parsed) ?? {};
  if (typeof message !== "string") return { time, message: "", fields: {}, text: visibly(rest) };
  return { time, message, fields, text: visibly(`${message} ${JSON.stringify(fields)}`) };
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Prints the last lines with these messages, or that there is none. Refuses where the log cannot be read. */
export async function showLast(context: Context, of: string, span: string, messages: string[], count: number) {
  const { stage, print, printAsIs } = context;
  const lines = await readLog(stage, of, span).catch((error: Refusal) => {
    print("  unknown");
    throw error;
  });
  const found = lines.filter((line) => messages.includes(line.message)).slice(-count);
  if (found.length > 0) printAsIs(...found.map(({ time, text }) => `${time} ${text}`));
  else print("  nothing");
}

export const logCommands: Command[] = [
  {
    name: "logs",
    calls: ["logs sampler SPAN [TEXT]", "logs receiver SPAN [TEXT]"],
    help: "The log of such as the last 15m, with the time of each line: all of it, or the lines with this text.",
    async run({ stage, printAsIs }, of = "", span = "", ...more) {
      if (!/^(sampler|receiver)$/.test(of) || !/^\d+[mhd]$/.test(span)) {
        throw new Refusal("Say of which function, and how far back: logs sampler 15m, or logs receiver 1d");
      }
      const text = more.join(" ");
      const lines = (await readLog(stage, of, span)).map((line) => `${line.time} ${line.text}`);
      const found = lines.filter((line) => line.includes(text));
      if (found.length === 0) throw new Refusal(`Nothing in the log of the last ${span}${text && ` has: ${text}`}`);
      printAsIs(...found);
    },
  },
  {
    name: "why_failing",
    calls: ["why_failing"],
    help: "The codes and reasons of the last 15 minutes for which a count is unknown.",
    async run({ stage, print }) {
      const failures = (await readLog(stage, "sampler", "15m")).filter(({ message }) => message === "check failed");
      if (failures.length === 0) throw new Refusal("Nothing in the log of the last 15m has: check failed");
      print(...reasonsOf(failures.map(({ fields }) => fields)));
    },
  },
];

/** How often each reason came, the most frequent last, and whether it is that Postgres was not reached. */
export function reasonsOf(failures: Record<string, unknown>[]): string[] {
  const groups = new Map<string, string[]>();
  for (const { check, code = "no code", reason } of failures) {
    const key = `${code} ${reason}`;
    groups.set(key, [...(groups.get(key) ?? []), String(check)]);
  }
  const sorted = [...groups].sort(([, one], [, two]) => one.length - two.length);
  const isUnreachable = failures.some(
    ({ code, reason }) =>
      /^(ECONNREFUSED|ENOTFOUND|CONNECT_TIMEOUT)$/.test(String(code)) || String(reason).includes("no answer within"),
  );
  return [
    ...sorted.map(([key, of]) => `${of.length} times, of ${[...new Set(of)].sort().join(", ")}: ${key}`),
    ...(isUnreachable ? ["THE SAMPLER DOES NOT REACH POSTGRES. Call the platform engineer now."] : []),
  ];
}
