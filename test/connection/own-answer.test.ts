// A pooler may give a session the answer of another: nothing is counted, confirmed or published by it.

import { randomUUID } from "node:crypto";
import { beforeEach, expect, inject, it } from "vitest";
import { takeSample } from "../../lib/counts/sample.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { codeOf, type Database } from "../../lib/postgres/database.ts";
import { ownAnswer } from "../../lib/postgres/own-answer.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { databasePerTest, lend, openConnection } from "../helpers/database.ts";
import { gatewayTaking } from "../helpers/gateway.ts";
import { forEachCheck } from "../helpers/models.ts";
import { countsIn } from "../helpers/sample.ts";

const { database, run } = databasePerTest();
const limit = () => deadlineFor("test", 60_000);
const lost = "CONNECTION_CLOSED";
let mixedUp = 0;
beforeEach(() => {
  mixedUp = 0;
});

/** A connection on which the answers to such messages are those to another session's message of the same kind. */
async function openMixingUp(url: string, isMixedUp: (message: string) => boolean): Promise<Database> {
  const connection = await openConnection(url);
  const unsafe = (message: string) => {
    if (!isMixedUp(message)) return connection.sql.unsafe(message);
    mixedUp += 1;
    return connection.sql.unsafe(message.replace(/'[-0-9a-f]{36}' as token/, `'${randomUUID()}' as token`));
  };
  return { ...connection, sql: { unsafe } } as unknown as Database;
}

const counted = { ...forEachCheck(() => 0), stuck_orders: 1 };
it.each([
  ["the first question", "pg_is_in_recovery"],
  ["a count", "as overdue"],
  ["all", ""],
])(
  "asks once more on another connection where the answer to %s is another's, and counts no such answer",
  async (_, of) => {
    await run("insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'p', '2020-01-01')");
    const open = (is: (message: string) => boolean) => openMixingUp(database.samplerUrl, is);
    const first = (message: string) => message.includes(of) && mixedUp === 0;
    const mixing = await open(first);
    const { outcomes } = await takeSample(
      lend(mixing, () => open(() => false)),
      limit(),
    );
    expect(mixing.lost.aborted).toBe(true);
    expect(countsIn(outcomes, (error) => error)).toEqual(counted);
    expect(mixedUp).toBe(1);

    const always = () => open((message) => message.includes(of));
    const failed = countsIn((await takeSample(lend(await always(), always), limit())).outcomes, codeOf);
    expect(failed).toEqual(forEachCheck(() => expect.stringMatching(/^CONNECTION_/)));
  },
);

it("does not confirm a delivery by another's answer, and counts it once when it comes again", async () => {
  const delivery = { id: "a", increments: [{ name: "x", labels: {}, value: 1 }] };
  const { sql } = await openMixingUp(database.receiverUrl, () => mixedUp === 0);
  await expect(recordDelivery(sql, delivery)).rejects.toMatchObject({ code: lost });
  expect(await recordDelivery(sql, delivery)).toBe("duplicate");
  expect(await database.admin`select value from ledger_metrics.totals`).toEqual([{ value: "1" }]);
});

it.each([
  ["the totals", "as totals", 1],
  ["the commit", "; commit", 2],
])("publishes again on another connection where the answer to %s is another's", async (_, of, pushes) => {
  const pushed: number[] = [];
  const url = await gatewayTaking((orphans, response) => {
    pushed.push(orphans);
    response.end();
  });
  const to = { pushgateway: { url }, stage: undefined };
  const open = (is: (message: string) => boolean) => openMixingUp(database.receiverUrl, is);
  const first = (message: string) => message.includes(of) && mixedUp === 0;
  const publish = async (is: typeof first, then: typeof first) =>
    publishTotals(
      lend(await open(is), () => open(then)),
      to,
      limit(),
    );
  expect(await publish(first, () => false)).toBe(true);
  expect(pushed).toHaveLength(pushes);
  const always = (message: string) => message.includes(of);
  await expect(publish(always, always)).rejects.toMatchObject({ code: lost });
});

it.each([
  ["a single statement", "select 1 as token"],
  ["nothing", "set local jit = off; set local jit = off"],
  ["a proof without an answer", "select 1 as one; select 'TOKEN' as token"],
])("knows no answer of its own in that of %s", async (_, another) => {
  const { sql } = await openConnection(inject("adminUrl"));
  const unsafe = (message: string) => {
    const [, token = ""] = /'([-0-9a-f]{36})' as token/.exec(message) ?? [];
    return sql.unsafe(another.replace("TOKEN", token));
  };
  await expect(ownAnswer({ unsafe } as never, "", "select 1")).rejects.toMatchObject({ code: lost });
});
