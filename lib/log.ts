import { fstatSync } from "node:fs";

export type Level = "info" | "warn" | "error";
type Failure = { code?: string; reason: string };

/**
 * What the functions log: the fields of each message. Some are named by the alarms' filters, in serverless.yml and
 * deploy/params.ts, and by the runbook.
 */
interface Fields {
  tick: { duration_seconds: number; [check: string]: number };
  "tick failed": Failure;
  "check failed": { check: string } & Failure;
  "rows counted": { check: string; ids: string[] };
  "evidence not read": { of: string } & Failure;
  delivery: { id: string; status: "recorded" | "duplicate"; events: number; published: boolean };
  "delivery refused": { id: string | undefined; status: number; error: string };
  "delivery not confirmed": { id: string | undefined } & Failure;
  "request refused": { status: number; error: string };
  "a sweep's time is ahead": { id: string; ahead_seconds: number };
  "a sweep's time is past": { id: string; late_seconds: number };
  "a sweep's duration is long": { id: string; duration_seconds: number };
  "fields ignored": { id: string; fields: string[] };
  "totals not published": Failure;
  "counters held": { by: Record<string, number> };
  "secrets not read again, the last ones stay in use": { age_seconds: number } & Failure;
  "Postgres refuses the password in the secret, the last good one stays in use": { age_seconds: number };
}

/** A line of the log. Its message tells the type of its fields. */
export type Line = { [Message in keyof Fields]: [message: Message, fields: Fields[Message]] }[keyof Fields];
type Writer = (level: Level, ...line: Line) => void;

const priorities = { info: "<6>", warn: "<4>", error: "<3>" };
/** A line's priority for `journalctl -p warning`, where systemd says that stderr leads to the journal. */
function priorityOf(level: Level): string {
  const { dev, ino } = fstatSync(2);
  return process.env.JOURNAL_STREAM === `${dev}:${ino}` ? priorities[level] : "";
}

let write: Writer = (level, message, fields) => {
  const line = { message, ...fields };
  const { AWS_LAMBDA_LOG_FORMAT: format } = process.env;
  // biome-ignore lint/suspicious/noConsole: Lambda logs what the console prints.
  console[level](format === "JSON" ? line : priorityOf(level) + JSON.stringify({ level, ...line }));
};

/**
 * Writes one structured line. Lambda's JSON log format takes the object itself and makes its fields searchable;
 * elsewhere the line is JSON text, with a priority for the journal. Never pass secrets, bodies or connection strings as
 * fields.
 */
export function log(level: Level, ...line: Line): void {
  write(level, ...line);
}

/** Replaces the writer of all further lines, as to print them for people at a terminal. Returns the earlier writer. */
export function writeLogWith(writer: Writer): Writer {
  const earlier = write;
  write = writer;
  return earlier;
}

/** The log fields of an error: its code (SQLSTATE or Node's), if any, and its message; no stack, query or detail. */
export function errorFields(error: unknown): Failure {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { ...(typeof code === "string" && { code }), reason: String(message || code || error) };
}
