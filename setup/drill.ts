// The drill of docs/drill.md: an overdue row of an invented stage `drill`, for as long as somebody waits for the page.
// Whatever ends it, the row goes away: without a scrape of the 0, the page would go on for up to a day.
import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Out } from "../commands/command.ts";
import { deadlineFor, withAnyOf } from "../lib/deadline.ts";
import { ledgerJob, type PushgatewayTarget, push } from "../lib/gateway/pushgateway.ts";
import { deleteGroup } from "./gateway.ts";

const group = { job: ledgerJob, stage: "drill" };
/** Until Prometheus has scraped the 0. */
const settleMs = 120_000;
const requestMs = 10_000;

/**
 * Runs the drill on a gateway, whose authority this process has to trust. Resolves to the exit code: 0 after Enter, 1
 * after a signal, or where the gateway fails. No request takes over 10 s. `settle` waits until the 0 was scraped; a
 * second signal ends that.
 */
export async function drill(
  gateway: PushgatewayTarget,
  out: Out,
  settle = (signal: AbortSignal) => sleep(settleMs, undefined, { signal }),
): Promise<number> {
  let stop = new AbortController();
  let isBrokenOff = false;
  const onSignal = () => {
    isBrokenOff = true;
    stop.abort(new Error("broken off"));
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  const overdue = async (rows: number, signals: AbortSignal[] = []) => {
    const text = `# TYPE veza_ledger_overdue_rows gauge\nveza_ledger_overdue_rows{check="orphan_refunds"} ${rows}\n`;
    try {
      const ends = [deadlineFor("the gateway", requestMs), ...signals];
      await withAnyOf(ends, (end) => push(gateway, group, text, end));
      return true;
    } catch (error) {
      out.error(`✗ ${(error as Error).message}`);
      return false;
    }
  };

  try {
    const isPushed = await overdue(1, [stop.signal]);
    if (isPushed && !stop.signal.aborted) await enterOr(stop.signal, onSignal);
    // Also after a push without an answer, which may have arrived.
    if (!(await overdue(0))) {
      out.error("The row of the drill may be on the gateway: run the drill again when the gateway answers.");
      return 1;
    }
    if (!isPushed) return 1;
    stop = new AbortController();
    out.log("Ends the drill: wait for 2 minutes.");
    const isSettled = await settle(stop.signal).then(
      () => true,
      () => false,
    );
    if (!isSettled || (await deleteGroup(gateway, group)))
      out.log("The drill's group stays on the gateway, with 0 rows.");
    out.log("Ended. The page resolves within 22 minutes of your Enter or Ctrl-C.");
    return isBrokenOff ? 1 : 0;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

/** Resolves after Enter, at the end of the input, or when the signal aborts. */
async function enterOr(signal: AbortSignal, interrupt: () => void): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  lines.on("SIGINT", interrupt);
  lines.setPrompt("Press Enter when the page has arrived: within 5 minutes. ");
  lines.prompt();
  await Promise.race([once(lines, "line", { signal }), once(lines, "close", { signal })]).catch(() => {});
  lines.close();
}
