// What each failover, restore and mix-up costs, on real servers: docs/lost-and-wrong-events.md.

import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, ScheduledEvent } from "aws-lambda";
import type postgres from "postgres";
import { afterAll, expect, inject, it } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { handler as receiver } from "../../handlers/receiver.ts";
import { handler as sampler } from "../../handlers/sampler.ts";
import { restartableLedger, sessionOn, settingsOn, startStandby } from "../chaos/servers.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { httpServer } from "../helpers/servers.ts";

const stage = "failover";
const secret = newSecret();
const orphans = "veza_reconciler_orphan_refunds_total";

const { url, stop } = await serve(receiver, 0);
afterAll(() => stop());

type Server = Parameters<typeof settingsOn>[0];

const receiverSettings = (database: Server, gateway: Server) => ({
  ...settingsOn(database, gateway, "receiver"),
  WEBHOOK_SECRET: secret,
  STAGE: stage,
});

/** Sends deliveries of one orphan refund each. Returns what became of them, by their ids. */
async function send(ids: string[]): Promise<Record<string, unknown>> {
  const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });
  const answers = await Promise.all(
    ids.map(async (id) => {
      const { status, json } = await post(url, secret, body, { id });
      return [id, status === 200 ? json.status : status];
    }),
  );
  return Object.fromEntries(answers);
}

const named = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}_${index}`);
const all = (ids: string[], outcome: unknown) => Object.fromEntries(ids.map((id) => [id, outcome]));

/** One tick. Returns how many orphan refunds are held then, or why it has not published. */
async function tick(database: Server, gateway: Server): Promise<unknown> {
  const log = captureLog();
  setEnvironment({ ...settingsOn(database, gateway, "sampler"), STAGE: stage });
  await sampler({} as ScheduledEvent, {} as Context, () => {});
  setEnvironment(receiverSettings(database, gateway));
  const { by, reason }: Record<string, unknown> = log.find(({ level }) => level === "warn") ?? {};
  return by ? (by as Record<string, number>)[`${orphans}{}`] : (reason ?? 0);
}

/** The tests' gateway, behind a front that notes each push. */
async function startWatched() {
  await wipe(stage);
  const pushes: { orphans: number; held: number }[] = [];
  const front = await httpServer(async (request, response) => {
    const { method = "", url } = request;
    const body = method === "PUT" ? await text(request) : null;
    const pushedAs = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(body ?? "")?.[1]);
    const pushed = { orphans: pushedAs(orphans), held: pushedAs("veza_reconciler_counters_held") };
    if (pushed.orphans >= 0) pushes.push(pushed); // And not what the sampler has counted.
    const answer = await fetch(`${inject("pushgatewayUrl")}${url}`, { method, body });
    response.writeHead(answer.status).end(await answer.text());
  });
  return { gateway: { port: Number(new URL(front).port) }, pushes };
}

const shown = () => scrape(stage);
const total = async (admin: postgres.Sql) =>
  (await admin`select value::float8, ahead::float8 from ledger_metrics.totals where name = ${orphans}`)[0];

/** From now on the standby gets nothing any more. */
async function cutReplication(standby: postgres.Sql): Promise<void> {
  await standby`alter system set primary_conninfo = ''`;
  await standby`select pg_reload_conf()`;
  await expect.poll(() => standby`select from pg_stat_wal_receiver`).toHaveLength(0);
}

it("loses what an asynchronous standby lacked; its counter alone waits until all was sent again", async () => {
  captureLog();
  const [primary, { gateway, pushes }] = await Promise.all([restartableLedger(), startWatched()]);
  const standby = await startStandby(primary);
  const onStandby = sessionOn(standby);
  await tick(primary, gateway);
  const [early, late] = [named("early", 5), named("late", 20)];
  expect(await send(early)).toEqual(all(early, "recorded"));
  await expect.poll(async () => (await total(onStandby))?.value).toBe(5);
  await tick(primary, gateway); // A busy machine may have published less.

  await cutReplication(onStandby);
  expect(await send(late)).toEqual(all(late, "recorded"));
  await tick(primary, gateway);
  expect(await shown()).toMatchObject({ [orphans]: 25 });
  await primary.kill();
  await onStandby`select pg_promote(true, 60)`;
  setEnvironment(receiverSettings(standby, gateway));

  // A new event counts for a lost one meanwhile. Other counters go on.
  const log = captureLog();
  expect(await send(["between"])).toEqual({ between: "recorded" });
  expect(log[0]).toEqual({ level: "warn", message: "counters held", by: { [`${orphans}{}`]: 19 } });
  const sweep = { type: "reconciler.sweep", timestamp: "2026-01-31T12:00:00Z", data: { duration_seconds: 1 } };
  expect((await post(url, secret, JSON.stringify(sweep))).json).toMatchObject({ published: true });
  expect(await tick(standby, gateway)).toBe(19);
  expect(await shown()).toMatchObject({
    [orphans]: 25,
    veza_reconciler_orphan_refunds_held: 19,
    veza_reconciler_sweep_duration_seconds_count: 1,
  });

  // New events, and all that were sent since before the failover, as `resend` does it.
  expect(await send(["new"])).toEqual({ new: "recorded" });
  expect(await shown()).toMatchObject({ [orphans]: 25, veza_reconciler_orphan_refunds_held: 18 });
  expect(await send([...late, ...early])).toEqual({ ...all(late, "recorded"), ...all(early, "duplicate") });
  expect(await total(onStandby)).toEqual({ value: 27, ahead: 0 });
  expect(await tick(standby, gateway)).toBe(0);
  expect(await shown()).toMatchObject({ [orphans]: 27, veza_reconciler_orphan_refunds_held: 0 });
  expect(pushes.map((push) => push.orphans)).toEqual(pushes.map((push) => push.orphans).toSorted((a, b) => a - b));
  expect(Math.max(...pushes.map(({ held }) => held))).toBe(1);
});

it("loses nothing that was confirmed with a synchronous standby, whoever cancels the wait for it", async () => {
  captureLog();
  const [primary, { gateway }] = await Promise.all([restartableLedger(), startWatched()]);
  const standby = await startStandby(primary);
  const [onPrimary, onStandby] = [sessionOn(primary), sessionOn(standby)];
  await onPrimary`alter system set synchronous_standby_names = '*'`;
  await onPrimary`select pg_reload_conf()`;
  setEnvironment(receiverSettings(primary, gateway));
  const early = named("early", 5);
  // As a sender does: what got a 503, on a loaded machine, is sent again.
  await expect.poll(async () => Object.values(await send(early)).includes(503)).toBe(false);

  await cutReplication(onStandby);
  const late = named("late", 8);
  let cancels = 0;
  const sending = send(late);
  let isOver = false;
  const cancelling = (async () => {
    while (!isOver) {
      const waiting = await onPrimary`
        select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and usename <> 'postgres'`;
      cancels += waiting.length;
      await sleep(5);
    }
  })();
  expect(await sending).toEqual(all(late, 503));
  isOver = true;
  await cancelling;
  expect(cancels).toBeGreaterThanOrEqual(late.length);
  // They are there, and lost with the primary.
  expect((await total(onPrimary))?.value).toBe(5 + late.length);

  await primary.kill();
  await onStandby`select pg_promote(true, 60)`;
  setEnvironment(receiverSettings(standby, gateway));
  expect(await total(onStandby)).toEqual({ value: 5, ahead: 0 });
  expect(await send([...early, ...late])).toEqual({ ...all(early, "duplicate"), ...all(late, "recorded") });
  expect(await total(onStandby)).toEqual({ value: 13, ahead: 0 });
});
