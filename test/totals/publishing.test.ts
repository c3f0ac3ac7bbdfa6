// Callers that record and publish, step by step, in every order: recording, locking and reading, the push, the commit.

import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, it } from "vitest";
import { deadlineFor } from "../../lib/deadline.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { databaseForFile, lend, openConnection, targetOf, waitingPublishers } from "../helpers/database.ts";
import { gatewayTaking } from "../helpers/gateway.ts";

const database = await databaseForFile();
// As a database's stricter default has it: who waits for the lock must not see the totals from before its wait.
const role = `alter role veza_ledger_receiver in database ${targetOf(database.adminUrl).database}`;
await database.admin.unsafe(`${role} set default_transaction_isolation = 'repeatable read'`);

const stepsOfOne = 4;

/** What keeps a caller from its next step, if anything does. */
type Gates = ((() => void) | undefined)[];

/** The callers that are neither at a gate nor over all wait for the publishers' lock, within a minute. */
async function settle(gates: Gates, isOver: boolean[]): Promise<void> {
  for (const limit = deadlineFor("a caller that neither waits nor is over", 60_000); ; limit.throwIfAborted()) {
    const busy = isOver.filter((over, index) => !over && !gates[index]).length;
    if (busy === 0) return;
    await sleep(2);
    const waiting = await waitingPublishers(database);
    if (waiting.length === busy && isOver.filter((over, index) => !over && !gates[index]).length === busy) return;
  }
}

/**
 * Opens connections for callers. Returns what runs their steps in an order, and resolves to how many callers have left
 * their numbers to another caller. It expects that nothing stays behind, and nothing older is pushed after newer.
 */
async function startCallers(count: number): Promise<(order: number[]) => Promise<number>> {
  const connections = await Promise.all(Array.from({ length: count }, () => openConnection(database.receiverUrl)));
  let take = async (_caller: number, _orphans: number) => {};
  const url = await gatewayTaking(async (orphans, response, request) => {
    await take(Number(request.url?.split("/")[1]), orphans); // A caller's number is in its URL.
    response.end();
  });

  return async (order) => {
    await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
    const gates: Gates = connections.map(() => undefined);
    const isOver = connections.map(() => false);
    const atGate = (caller: number) =>
      new Promise<void>((resolve) => {
        gates[caller] = resolve;
      });
    let recorded = 0;
    const pushed: number[] = [];
    take = async (caller, orphans) => {
      await atGate(caller);
      pushed.push(orphans);
    };

    const call = async (connection: Database, caller: number) => {
      const unsafe = async (statements: string) => {
        await atGate(caller);
        return connection.sql.unsafe(statements);
      };
      const gated = { ...connection, sql: { unsafe } } as unknown as Database;
      const increments = [{ name: "veza_reconciler_orphan_refunds_total", labels: {}, value: 1 }];
      await recordDelivery(gated.sql, { id: `${caller}`, increments });
      recorded += 1;
      const atLeast = recorded;
      const lent = lend(gated, () => Promise.reject(new Error("the connection was lost")));
      const isPublished = await publishTotals(
        lent,
        { pushgateway: { url: `${url}/${caller}` }, stage: undefined },
        deadlineFor("test", 60_000),
      );
      // What was answered with published:true is on the gateway.
      if (isPublished) expect(pushed.at(-1)).toBeGreaterThanOrEqual(atLeast);
      return isPublished;
    };
    const answers = Promise.all(
      connections.map((connection, caller) =>
        call(connection, caller).finally(() => {
          isOver[caller] = true;
        }),
      ),
    );
    answers.catch(() => {}); // It is awaited after the last step.
    const everyStep = [...order, ...order, ...order].concat(...Array(stepsOfOne).fill([...connections.keys()]));
    for (const caller of everyStep) {
      await settle(gates, isOver);
      gates[caller]?.();
      gates[caller] = undefined;
    }
    const left = (await answers).filter((isPublished) => !isPublished).length;
    expect(pushed).toEqual(pushed.toSorted((a, b) => a - b));
    expect(pushed.at(-1)).toBe(count);
    expect(pushed).toHaveLength(count - left);
    return left;
  };
}

/** Every order of two callers' steps that ends with the first caller's: the others only swap the callers. */
const ordersOfTwo = Array.from({ length: 2 ** (2 * stepsOfOne - 1) }, (_, bits) =>
  Array.from({ length: 2 * stepsOfOne }, (_, step) => (bits >> step) & 1),
).filter((order) => order.filter(Boolean).length === stepsOfOne);

it("shows all, and pushes nothing older after anything newer, in every order of two callers", async () => {
  expect(ordersOfTwo).toHaveLength(35);
  const run = await startCallers(2);
  for (const order of ordersOfTwo) await run(order);
});

it("and in random orders of four callers' steps", async () => {
  const run = await startCallers(4);
  const steps = Array.from({ length: 4 * stepsOfOne }, (_, step) => step % 4);
  const orders = fc.shuffledSubarray(steps, { minLength: steps.length });
  let left = 0;
  await fc.assert(
    fc.asyncProperty(orders, async (order) => {
      left += await run(order);
    }),
    { numRuns: 25 },
  );
  expect(left).toBeGreaterThan(5); // Otherwise no caller had found another caller waiting.
});
