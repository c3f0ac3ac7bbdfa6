// The hour before `npm start` that local/history.ts makes up, so that graphs and alerts begin with a past.
import { expect, it } from "vitest";
import { checks } from "../../lib/checks.ts";
import { parseEvents, type ReconcilerEvent } from "../../lib/events.ts";
import { demoHistory } from "../../local/history.ts";
import { databaseForTest } from "../helpers/database.ts";
import { insertRows, modelOf } from "../helpers/models.ts";

/** The values of one series, the oldest first. */
function valuesOf(openMetrics: string, series: string): number[] {
  const lines = openMetrics.split("\n").filter((line) => line.startsWith(`${series} `));
  return lines.map((line) => Number(line.split(" ")[1]));
}

it("has what a check would have counted in each minute, and ends with the totals of its delivery", async () => {
  const { admin, adminUrl } = await databaseForTest();
  for (const check of checks) await admin.unsafe(insertRows(check, 2, { age: "50 minutes 30 seconds" }));
  const { openMetrics, events } = await demoHistory(adminUrl);

  const counts = (metric: string) => valuesOf(openMetrics, `${metric}{job="veza_ledger"}`);
  const since = (minute: number) => Array.from({ length: 60 }, (_, index) => (index < minute ? 0 : 2));
  for (const check of checks.filter(({ id }) => !["stuck_orders", "stuck_refunds"].includes(id))) {
    const { staleAfterMinutes } = modelOf(check);
    // The rows were written in minute 9.5.
    expect(counts(check.metric), check.id).toEqual(since(staleAfterMinutes ? Math.ceil(9.5 + staleAfterMinutes) : 0));
  }
  // Every other minute the reconciler has repaired a row, the last time in minute 58.
  const orders = counts("veza_ledger_stuck_orders_pending");
  expect([0, 1, 39, 40, 57, 58, 59].map((minute) => orders[minute])).toEqual([29, 29, 10, 11, 3, 2, 2]);

  const isRepair = (event: ReconcilerEvent) =>
    event.type === "reconciler.action" && event.data.phase === "stuck_orders";
  const actions = 'veza_reconciler_actions_total{phase="stuck_orders",job="veza_reconciler"}';
  const totals = valuesOf(openMetrics, actions);
  expect(totals.at(-1)).toBe(parseEvents(events).filter(isRepair).length);
  expect(totals).toEqual([...totals].sort((a, b) => a - b));
  const lastAt = Number(openMetrics.trimEnd().split("\n").at(-2)?.split(" ").at(-1));
  expect(Math.abs(Date.now() / 1000 - 60 - lastAt)).toBeLessThan(30);
});
