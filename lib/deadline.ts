/**
 * Settles as `work` does, or rejects with the signal's reason as soon as it aborts. It stops only the waiting: whoever
 * started the work also has to end it (close the connection, abort the request).
 */
export function orAbort<T>(work: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).then(() => signal.removeEventListener("abort", abort));
  });
}

/** A signal that aborts after `timeoutMs`, with an error that says what was waited for. */
export function deadline(waitingFor: string, timeoutMs: number): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error(`${waitingFor}: no answer within ${timeoutMs} ms`)), timeoutMs).unref();
  return controller.signal;
}
