const everyMs = 25;

/**
 * Starts measuring how long this process waits and works. While a busy machine does not let it run, it stands still,
 * as the process's own timers do: a limit that is kept on a quiet machine is kept on any. Returns the ms so far.
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
