type Level = "info" | "warn" | "error";
type Writer = (level: Level, message: string, fields: Record<string, unknown>) => void;

let write: Writer = (level, message, fields) => {
  const line = { message, ...fields };
  // biome-ignore lint/suspicious/noConsole: Lambda logs what the console prints.
  console[level](process.env.AWS_LAMBDA_LOG_FORMAT === "JSON" ? line : JSON.stringify({ level, ...line }));
};

/**
 * Writes one structured line. Lambda's JSON log format takes the object itself and makes its fields searchable;
 * elsewhere the line is JSON text. Never pass secrets, bodies or connection strings as fields.
 */
export function log(level: Level, message: string, fields: Record<string, unknown> = {}): void {
  write(level, message, fields);
}

/** Replaces the writer of all further lines, for instance to print them for people at a terminal. */
export function writeLogWith(writer: Writer): void {
  write = writer;
}

/**
 * Why a fetch failed. Its own message only says "fetch failed"; its cause has a message or, without one, a code.
 * OpenSSL's message about a server without TLS is a line of its source.
 */
export function fetchFailure(error: unknown): string {
  const { message, cause } = error as Error;
  if (/^ERR_SSL_(WRONG_VERSION|PACKET_LENGTH)/.test(String((cause as NodeJS.ErrnoException)?.code))) {
    return "the server does not speak TLS";
  }
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message;
}

/** The log fields of an error: its code (SQLSTATE or Node's), if any, and its message; no stack, query or detail. */
export function errorFields(error: unknown): { code?: string; reason: string } {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { ...(typeof code === "string" && { code }), reason: String(message || code || error) };
}
