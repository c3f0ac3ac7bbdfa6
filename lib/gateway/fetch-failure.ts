/** Whether a fetch failed because the server does not speak TLS. */
export const isWithoutTls = (error: unknown): boolean =>
  /^ERR_SSL_(WRONG_VERSION|PACKET_LENGTH)/.test(
    String(((error as Error | undefined)?.cause as NodeJS.ErrnoException)?.code),
  );

/**
 * Why a fetch failed. Its own message only says "fetch failed"; its cause has a message or, without one, a code.
 * OpenSSL's message about a server without TLS is a line of its source.
 */
export function fetchFailure(error: unknown): string {
  if (isWithoutTls(error)) return "the server does not speak TLS";
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message;
}
