// A pooler may give a session the answer of another, or of a replica: nothing is counted, confirmed or published by it.

import { randomUUID } from "node:crypto";
import { beforeEach, expect, inject, it, onTestFinished } from "vitest";
import type { Finding } from "../../commands/doctor/finding.ts";
import { installationLooks } from "../../commands/doctor/looks.ts";
import { takeAll } from "../../commands/doctor/take.ts";
import { checks } from "../../lib/counts/checks.ts";
import { takeSample } from "../../lib/counts/sample.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { codeOf, type Database, open } from "../../lib/postgres/database.ts";
import { ownAnswer } from "../../lib/postgres/own-answer.ts";
import type { Settings } from "../../lib/settings/settings.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { startReplica } from "../chaos/servers.ts";
import { databasePerTest, lend, openConnection, targetOf } from "../helpers/database.ts";
import { doctor, sceneOf } from "../helpers/doctor.ts";
import { gatewayTaking } from "../helpers/gateway.ts";
import { forEachCheck, insertRows, onTable } from "../helpers/models.ts";
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
  ["the first question", "as may_use"],
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

it("counts nothing that a replica answers behind a pooler, and the doctor says so in one line, without a number", async () => {
  const replicaUrl = await startReplica(); // Its ledger is empty.
  const replica = open(targetOf(replicaUrl), "test");
  onTestFinished(() => replica.close());
  for (const check of checks) await run(insertRows(check, 1));
  /** A session of a pooler that sends such messages to the replica, and all others to the primary. */
  const pooled = async (isForReplica: (message: string) => boolean): Promise<Database> => {
    const primary = await openConnection(database.samplerUrl);
    const unsafe = (message: string) => (isForReplica(message) ? replica : primary).sql.unsafe(message);
    return { ...primary, sql: { unsafe } } as unknown as Database;
  };
  const reason = "a replica: name the primary";
  const ofOrders = (message: string) => /overdue,[\s\S]*orders/.test(message);
  const sample = async (session: Database) => takeSample(lend(session, openAnother), limit());
  const openAnother = () => Promise.reject(new Error("a replica's answer is no lost connection"));
  const { outcomes, evidence } = await sample(await pooled(ofOrders));
  expect(countsIn(outcomes, (error) => (error as Error).message)).toEqual({
    ...forEachCheck(() => 1),
    ...onTable("orders", reason),
  });
  expect(evidence).not.toEqual([]);

  const settings = {
    settings: { database: targetOf(database.samplerUrl) } as Settings,
    functions: { sampler: true, receiver: false },
    settled: [],
  };
  /** The doctor's lines, where a replica gets the message of this number. */
  const linesWhere = async (number: number) => {
    let asked = 0;
    const session = await pooled(() => ++asked === number);
    const lines: [name: string, finding: Finding][] = [];
    const scene = { ...sceneOf(session), ...settings };
    const say = (...line: (typeof lines)[number]) => void lines.push(line);
    await takeAll(installationLooks, scene, say, { database: session, signal: limit(), timeoutMs: 60_000 });
    return { lines, asked };
  };
  const { lines, asked } = await linesWhere(0);
  expect(lines.map(([, { found }]) => found).join()).toMatch(/stuck_orders 1.*readable/);
  // The last message is a rollback, which has no answer.
  for (let number = 1; number < asked; number += 1) {
    const seen = await linesWhere(number);
    expect(seen.lines.filter(([, { mark }]) => mark === "✗").map(([, { found }]) => found)).toEqual([reason]);
    expect(seen.lines.at(-1)?.[1].found).toBe(reason);
  }

  const DATABASE_URL = replicaUrl;
  expect((await doctor(["sampler"], { DATABASE_URL })).ill).toEqual([`✗ Postgres ${reason}`]);
  expect((await doctor([DATABASE_URL], {})).lines.slice(-1)).toEqual([`✗ Postgres ${reason}`]);
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
