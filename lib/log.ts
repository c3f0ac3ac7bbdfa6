type Level = "info" | "warn" | "error";
type Writer = (level: Level, message: string, fields: Record<string, unknown>) => void;

let write: Writer = (level, message, fields) => {
  const line = { message, ...fields };
  // biome-ignore lint/suspicious/noConsole: on Lambda the console is the log.
  console[level](process.env.AWS_LAMBDA_LOG_FORMAT === "JSON" ? line : JSON.stringify({ level, ...line }));
};

/**
 * Writes one structured line. Lambda's JSON log format wants the object itself, to make its fields searchable; anywhere
 * else the line is JSON text. Fields never carry secrets, bodies or connection strings.
 */
export function log(level: Level, message: string, fields: Record<string, unknown> = {}): void {
  write(level, message, fields);
}

/** Has all further lines written in another way: for people, at a terminal. */
export function writeLogWith(writer: Writer): void {
  write = writer;
}

/** Why a fetch failed, in words: its own message says no more than "fetch failed", and its cause may have none. */
export function fetchFailure(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message;
}

/** The log fields of an error: its code (SQLSTATE, or Node's), if any, and its message. No stack, query or detail. */
export function errorFields(error: unknown): { code?: string; reason: string } {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { ...(typeof code === "string" && { code }), reason: String(message || code || error) };
}
