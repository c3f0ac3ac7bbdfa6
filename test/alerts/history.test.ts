import { expect, it, onTestFinished } from "vitest";
import { checks } from "../../lib/checks.ts";
import { parseEvents } from "../../lib/events.ts";
import { demoHistory } from "../../local/history.ts";
import { createDatabase } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";

// The hour before `npm start` that local/history.ts makes up, so that graphs and alerts begin with a past.

/** The values of one series, the oldest first. */
function valuesOf(openMetrics: string, series: string): number[] {
  const lines = openMetrics.split("\n").filter((line) => line.startsWith(`${series} `));
  return lines.map((line) => Number(line.split(" ")[1]));
}

it("counts at each minute what a check would have counted then", async () => {
  const { admin, adminUrl, remove } = await createDatabase();
  onTestFinished(remove);
  for (const check of checks) await admin.unsafe(insertRows(check, 2, { age: "50 minutes 30 seconds" }));
  const { openMetrics } = await demoHistory(adminUrl, "prod");
  const counts = (metric: string) => valuesOf(openMetrics, `${metric}{job="veza_ledger",stage="prod"}`);
  const since = (minute: number) => Array.from({ length: 60 }, (_, index) => (index < minute ? 0 : 2));
  expect(counts("veza_ledger_reversal_pending_transfers")).toEqual(since(40)); // 30 minutes after minute 9.5.
  expect(counts("veza_ledger_orphan_refund_rows")).toEqual(since(15)); // 5 minutes after it.
  expect(counts("veza_ledger_failed_transfers_at_max_retry")).toEqual(since(0));
  // Every other minute the reconciler has repaired a row, the last time in minute 58.
  const orders = counts("veza_ledger_stuck_orders_pending");
  expect([orders[0], orders[1], orders[39], orders[40], orders[57], orders[58], orders[59]]).toEqual([
    29, 29, 10, 11, 3, 2, 2,
  ]);
  const successes = valuesOf(
    openMetrics,
    `veza_ledger_check_success{check="stuck_orders",job="veza_ledger",stage="prod"}`,
  );
  expect(successes).toEqual(Array.from({ length: 60 }, () => 1));
});

it("ends a minute ago with the totals of its delivery, and they never fall", async () => {
  const { adminUrl, remove } = await createDatabase();
  onTestFinished(remove);
  const { openMetrics, events } = await demoHistory(adminUrl, "");
  const parsed = parseEvents(events);
  const repaired = parsed.filter((event) => event.type === "reconciler.action" && event.data.phase === "stuck_orders");
  const totals = valuesOf(openMetrics, 'veza_reconciler_actions_total{phase="stuck_orders",job="veza_reconciler"}');
  expect(totals.at(-1)).toBe(repaired.length);
  expect(totals).toEqual([...totals].sort((a, b) => a - b));
  expect(valuesOf(openMetrics, 'veza_reconciler_orphan_refunds_total{job="veza_reconciler"}').at(-1)).toBe(0);
  const lastAt = Number(openMetrics.trimEnd().split("\n").at(-2)?.split(" ").at(-1));
  expect(Math.abs(Date.now() / 1000 - 60 - lastAt)).toBeLessThan(30);
  expect(openMetrics.endsWith("\n# EOF\n")).toBe(true);
});
