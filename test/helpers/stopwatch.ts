const everyMs = 25;

/**
 * Starts measuring how long this process waits and works. The stopwatch stands still while a busy machine does not let
 * the process run, and so do the process's own limits. Returns the ms so far.
 */
export function startStopwatch(): () => number {
  let ms = 0;
  let last = performance.now();
  const look = () => {
    const now = performance.now();
    ms += Math.min(now - last, 2 * everyMs);
    last = now;
    return ms;
  };
  setInterval(look, everyMs).unref();
  return look;
}
