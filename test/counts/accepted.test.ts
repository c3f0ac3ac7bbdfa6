// The doctor's list of the rows that somebody has accepted.

import { expect, it, onTestFinished } from "vitest";
import { lookAtAccepted } from "../../commands/looks/accepted.ts";
import { createDatabase, openConnection } from "../helpers/database.ts";
import { sceneOf } from "../helpers/doctor.ts";

it("lists the accepted rows, the soonest to run out first, or none without the table", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  const scene = sceneOf(await openConnection(database.samplerUrl));
  expect(await lookAtAccepted(scene)).toEqual({ mark: "✓", fact: "none" });
  await database.admin`insert into ledger_metrics.accepted values
    ('stuck_refunds', '17', now() + interval '5 days', 'the bank takes its days', now(), 'alice'),
    ('failed_transfers', '4', now() + interval '1 day', 'closed account', now(), 'bob'),
    ('stuck_orders', '1', now() - interval '1 minute', 'over', now() - interval '1 day', 'bob')`;
  const { fact } = await lookAtAccepted(scene);
  expect(fact.split(/\n +/)).toEqual([
    expect.stringMatching(/^failed_transfers 4, until \d{4}-\d\d-\d\d \d\d:\d\d UTC, by bob: closed account$/),
    expect.stringMatching(/^stuck_refunds 17, until .* UTC, by alice: the bank takes its days$/),
  ]);
  await database.admin`drop table ledger_metrics.accepted`;
  expect((await lookAtAccepted(scene)).fact).toBe("none: without npm run migrate, no row can be accepted");
});
