/**
 * Settles as `work` does, or rejects with the signal's reason as soon as it aborts. The work itself goes on: the caller
 * also has to end it (close the connection, abort the request).
 */
export function orAbort<T>(work: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject);
  });
}

/**
 * Runs `work` with a signal that aborts with the first of `signals`, and settles as it does. Replaces
 * AbortSignal.any(), which leaks memory on a long-lived signal such as a kept connection's, and on Node 20 loses a
 * time-out that nobody else holds, so that it never aborts.
 */
export async function withAnyOf<T>(signals: AbortSignal[], work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const any = new AbortController();
  const abortWithFirst = () => {
    const aborted = signals.find(({ aborted }) => aborted);
    if (aborted) any.abort(aborted.reason);
  };
  abortWithFirst();
  for (const signal of signals) signal.addEventListener("abort", abortWithFirst);
  try {
    return await work(any.signal);
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", abortWithFirst);
  }
}

/**
 * Settles as `work` does, and keeps the process alive until then. Node exits with code 0, even during a request, when
 * nothing else is left that can wake it.
 */
export async function stayAwake<T>(work: Promise<T>): Promise<T> {
  const awake = setInterval(() => {}, 60_000);
  try {
    return await work;
  } finally {
    clearInterval(awake);
  }
}

/** Says that a deadline has passed. */
export class TooLate extends Error {}

/**
 * A signal that aborts after `timeoutMs` with a TooLate that names `waitingFor`. Its timer outlives the work, and so it
 * keeps no process alive: `stayAwake` does, for as long as there is work.
 */
export function deadlineFor(waitingFor: string, timeoutMs: number): AbortSignal {
  const controller = new AbortController();
  const abort = () => controller.abort(new TooLate(`${waitingFor}: no answer within ${timeoutMs} ms`));
  setTimeout(abort, timeoutMs).unref();
  return controller.signal;
}
