import { expect, it } from "vitest";
import { checkOf } from "../../commands/oncall/checks.ts";
import { type Counts, summaryOf } from "../../commands/oncall/rows.ts";
import { minutesIn } from "../../lib/counts/interval.ts";

const youngest = minutesIn(checkOf("stuck_orders").stuckAfter);
const ofOrphans = minutesIn(checkOf("orphan_refunds").stuckAfter);
const recent = youngest + 10;
const counts: Counts = { firing: 3, accepted: 1, young: 2, oldest: "2026-01-31 12:00", newest: recent, now: "now" };
it.each<[id: string, counts: Partial<Counts>, says: string]>([
  ["stuck_orders", {}, `IT GOES ON: the newest is ${recent} minutes old, and none counts before ${youngest}.`],
  ["stuck_orders", { newest: recent + 1 }, `No new one for a while: the newest is ${recent + 1} minutes old`],
  ["stuck_orders", { newest: null, oldest: null }, "unknown. No new one for a while: no time is known"],
  ["stuck_orders", { firing: 0 }, "So they were repaired or accepted"],
  // One orphan that fires is one process that has died: nothing says that it goes on.
  ["orphan_refunds", { firing: 1, young: 0, newest: ofOrphans + 10 }, "No new one for a while: the newest is"],
  ["orphan_refunds", { firing: 1, young: 1, newest: ofOrphans + 10 }, "IT GOES ON: the newest is"],
  ["orphan_refunds", { firing: 1, young: 1, newest: ofOrphans + 4 }, "IT GOES ON: the newest is"],
  ["failed_transfers", { firing: 1, young: 0, newest: 3 }, "No new one for a while: the newest is 3 minutes old."],
  ["failed_transfers", { firing: 2, young: 0, newest: 3 }, "IT GOES ON: the newest is 3 minutes old."],
])("says how many rows of %s fire, and whether it goes on: %o", (id, given, says) => {
  const all = { ...counts, ...given };
  const [first, second] = summaryOf(checkOf(id), all);
  expect(first).toBe(`${all.firing} of ${id} fire now, now. Besides: 1 accepted, ${all.young} too young to fire.`);
  expect(second).toContain(says);
});

it("counts orphans that were marked as failed with those that wait, as the page does", () => {
  const failed = { hour: 3, day: 4, days14: 5 };
  const [first, second] = summaryOf(checkOf("orphan_refunds"), { ...counts, firing: 0, failed });
  expect(first).toContain("3 were marked as failed in the last hour, 4 in a day, 5 in 14 days. Besides:");
  expect(second).toBe("No refund waits that fires. Nobody has paid those that were marked as failed.");
  const earlier = { ...counts, firing: 0, failed: { ...failed, hour: 0, day: 0 } };
  expect(summaryOf(checkOf("orphan_refunds"), earlier)[1]).toContain("So they were repaired");
});
