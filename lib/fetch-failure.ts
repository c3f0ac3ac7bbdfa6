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
