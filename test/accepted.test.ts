import { expect, it, onTestFinished } from "vitest";
import { lookAtAccepted } from "../commands/accepted.ts";
import { createDatabase, openConnection } from "./helpers/database.ts";

it("lists the accepted rows, the soonest to run out first, or none without the table", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  const connection = await openConnection(database.samplerUrl);
  expect(await lookAtAccepted(connection)).toEqual([true, "none"]);
  await database.admin`insert into ledger_metrics.accepted values
    ('stuck_refunds', '17', now() + interval '5 days', 'the bank takes its days', now(), 'alice'),
    ('failed_transfers', '4', now() + interval '1 day', 'closed account', now(), 'bob'),
    ('stuck_orders', '1', now() - interval '1 minute', 'over', now() - interval '1 day', 'bob')`;
  const [, fact] = await lookAtAccepted(connection);
  expect(fact.split(/\n +/)).toEqual([
    expect.stringMatching(/^failed_transfers 4, until \d{4}-\d\d-\d\d \d\d:\d\d UTC, by bob: closed account$/),
    expect.stringMatching(/^stuck_refunds 17, until .* UTC, by alice: the bank takes its days$/),
  ]);
  await database.admin`drop table ledger_metrics.accepted`;
  expect(await lookAtAccepted(connection)).toEqual([true, "none: without npm run migrate, no row can be accepted"]);
});
