// Callers that record and publish, step by step, in every order: recording, locking and reading, the push, the commit.

import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import type { Database } from "../../lib/database.ts";
import { deadline } from "../../lib/deadline.ts";
import { recordDelivery } from "../../lib/deliveries.ts";
import { publishTotals } from "../../lib/publish.ts";
import { createDatabase, lend, openConnection, waitingPublishers } from "../helpers/database.ts";
import { gatewayTaking } from "../helpers/gateway.ts";

const database = await createDatabase();
afterAll(() => database.remove());

const stepsOfOne = 4;

/** What keeps a caller from its next step, if anything does. */
type Gates = ((() => void) | undefined)[];

/** The callers that are neither at a gate nor over all wait for the publishers' lock. */
async function settle(gates: Gates, isOver: boolean[]): Promise<void> {
  for (;;) {
    const busy = isOver.filter((over, index) => !over && !gates[index]).length;
    if (busy === 0) return;
    const waiting = await waitingPublishers(database);
    if (waiting.length === busy && isOver.filter((over, index) => !over && !gates[index]).length === busy) return;
  }
}

/** Runs callers whose steps come in this order. Returns what they pushed, what was to be pushed, and their answers. */
async function run(connections: Database[], gateway: Gateway, order: number[]) {
  await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
  const gates: Gates = connections.map(() => undefined);
  const isOver = connections.map(() => false);
  const atGate = (caller: number) =>
    new Promise<void>((resolve) => {
      gates[caller] = resolve;
    });
  const pushed: number[] = [];
  gateway.take = async (caller, orphans) => {
    await atGate(caller);
    pushed.push(orphans);
  };

  const answers = connections.map(async (connection, caller) => {
    const unsafe = async (statements: string) => {
      await atGate(caller);
      return connection.sql.unsafe(statements);
    };
    const gated = { ...connection, sql: { unsafe } } as unknown as Database;
    const increments = [{ name: "veza_reconciler_orphan_refunds_total", labels: {}, value: 1 }];
    await recordDelivery(gated.sql, { id: `${caller}`, bodyDigest: "", increments });
    const connections = lend(gated, () => Promise.reject(new Error("the connection was lost")));
    const isPublished = await publishTotals(
      connections,
      { pushgateway: gateway, stage: `${caller}` },
      deadline("test", 60_000),
    );
    isOver[caller] = true;
    return isPublished;
  });
  const everyStep = [...order, ...order, ...order].concat(...Array(stepsOfOne).fill([...connections.keys()]));
  for (const caller of everyStep) {
    await settle(gates, isOver);
    gates[caller]?.();
    gates[caller] = undefined;
  }
  return { pushed, answers: await Promise.all(answers) };
}

/** Hands each push to `take`, with its caller, whose stage is its number. */
interface Gateway {
  url: string;
  take: (caller: number, orphans: number) => Promise<void>;
}

async function startGateway(): Promise<Gateway> {
  const gateway: Gateway = { url: "", take: async () => {} };
  gateway.url = await gatewayTaking(async (orphans, response, request) => {
    await gateway.take(Number(request.url?.split("/").at(-1)), orphans);
    response.end();
  });
  return gateway;
}

/** Every order of so many steps of two callers. */
function ordersOfTwo(first: number, second: number): number[][] {
  if (first + second === 0) return [[]];
  return [
    ...(first > 0 ? ordersOfTwo(first - 1, second).map((rest) => [0, ...rest]) : []),
    ...(second > 0 ? ordersOfTwo(first, second - 1).map((rest) => [1, ...rest]) : []),
  ];
}

function expectMonotonic({ pushed, answers }: Awaited<ReturnType<typeof run>>): void {
  expect(pushed).toEqual(pushed.toSorted((a, b) => a - b));
  expect(pushed.at(-1)).toBe(answers.length);
  expect(answers.filter(Boolean)).toHaveLength(pushed.length);
}

it("leaves nothing behind, and pushes nothing older after anything newer, in every order of two callers", async () => {
  const connections = await Promise.all([0, 1].map(() => openConnection(database.receiverUrl)));
  const gateway = await startGateway();
  for (const order of ordersOfTwo(stepsOfOne, stepsOfOne)) expectMonotonic(await run(connections, gateway, order));
});

it("nor in random orders of four callers' steps", async () => {
  const connections = await Promise.all([0, 1, 2, 3].map(() => openConnection(database.receiverUrl)));
  const gateway = await startGateway();
  const steps = Array.from({ length: 4 * stepsOfOne }, (_, step) => step % 4);
  const orders = fc.shuffledSubarray(steps, { minLength: steps.length });
  let left = 0;
  await fc.assert(
    fc.asyncProperty(orders, async (order) => {
      const outcome = await run(connections, gateway, order);
      expectMonotonic(outcome);
      left += outcome.answers.filter((isPublished) => !isPublished).length;
    }),
    { numRuns: 100 },
  );
  expect(left).toBeGreaterThan(10); // Otherwise no caller had found another caller waiting.
});
