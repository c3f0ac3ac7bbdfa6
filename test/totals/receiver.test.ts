// The receiver over HTTP: what it answers, what is recorded and published by then, and within which limits.

import { gzipSync } from "node:zlib";
import { afterAll, beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { serve } from "../../commands/function-url.ts";
import { handler } from "../../handlers/receiver.ts";
import { databaseForFile, lockTable, targetOf } from "../helpers/database.ts";
import { setEnvironment } from "../helpers/environment.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { captureLog } from "../helpers/log.ts";
import { startProxy } from "../helpers/proxy.ts";
import { newSecret, post } from "../helpers/receiver.ts";
import { tcpServer } from "../helpers/servers.ts";
import { startStopwatch } from "../helpers/stopwatch.ts";

const stage = "receiver";
const secret = newSecret();
const timestamp = new Date().toISOString();
const orphan = { type: "reconciler.orphan_refund", timestamp };
const body = JSON.stringify(orphan);
const orphans = "veza_reconciler_orphan_refunds_total";

const database = await databaseForFile();
const server = await serve(handler, 0);
afterAll(() => server.stop());
beforeEach(async () => {
  setEnvironment({
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: secret,
    STAGE: stage,
    SECRET_ID: undefined,
  });
  await endSessions();
  await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
  await wipe(stage);
});

/** Ends the connection that the receiver keeps, so that it takes the settings of the next test. */
async function endSessions(): Promise<void> {
  await database.admin`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name like 'veza-ledger-%' and datname = current_database()`;
}

const recorded = async () => {
  const [row] = await database.admin`select count(*)::int as n from ledger_metrics.deliveries`;
  const [total] = await database.admin`select value from ledger_metrics.totals where name = ${orphans}`;
  return { deliveries: row?.n, orphans: Number(total?.value ?? 0) };
};
const nothing = { deliveries: 0, orphans: 0 };

describe("answers", () => {
  it("200 recorded, and the totals are on the gateway by then", async () => {
    const log = captureLog();
    const answer = await post(server.url, secret, JSON.stringify([orphan, orphan]), { id: "msg_1" });
    expect(answer).toMatchObject({ status: 200, json: { status: "recorded", published: true, stage } });
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await recorded()).toEqual({ deliveries: 1, orphans: 2 });
    expect(await scrape(stage)).toMatchObject({
      [orphans]: 2,
      'veza_reconciler_actions_total{phase="stuck_orders"}': 0,
    });
    expect(log).toEqual([
      { level: "info", message: "delivery", id: "msg_1", status: "recorded", events: 2, published: true },
    ]);
  });

  it("200 duplicate to the same id and events, and 409 to others, not counted", async () => {
    captureLog();
    await post(server.url, secret, body, { id: "msg_1" });
    const rebuilt = JSON.stringify([{ timestamp: "2026-01-31T12:00:00Z", type: "reconciler.orphan_refund" }]);
    const again = await post(server.url, secret, rebuilt, { id: "msg_1", at: new Date(Date.now() - 60_000) });
    expect(again).toMatchObject({ status: 200, json: { status: "duplicate", published: true, stage } });
    const { status, json } = await post(server.url, secret, JSON.stringify([orphan, orphan]), { id: "msg_1" });
    const sums = "counted under this id: 1 orphan refund; this delivery: 2 orphan refunds";
    expect([status, json]).toEqual([409, { error: `webhook-id: was recorded for other events: ${sums}`, stage }]);
    expect(await recorded()).toEqual({ deliveries: 1, orphans: 1 });
  });

  it("200 to a sweep of an odd time or duration, and to fields that it ignores, with a warning, once", async () => {
    const log = captureLog();
    const sweep = (minutes: number, duration_seconds = 1, more: object = {}, around: object = {}) => {
      const time = new Date(Date.now() + minutes * 60_000);
      return { type: "reconciler.sweep", timestamp: time, data: { duration_seconds, ...more }, ...around };
    };
    const misspelt = sweep(0, 1, { pahse: "stuck_orders", ["x".repeat(50)]: 1 }, { id: 7 });
    for (const [id, sent] of [
      ["in_4", [sweep(4), orphan]],
      ["in_10", [sweep(10), orphan]],
      ["in_-9", sweep(-9)],
      ["in_-11", sweep(-11)],
      ["in_-11", sweep(-11)],
      ["short", sweep(0, 600)],
      ["long", sweep(0, 1840)],
      ["empty", { ...orphan, data: {} }],
      ["misspelt", misspelt],
      ["misspelt", misspelt],
    ] as [string, object][]) {
      expect((await post(server.url, secret, JSON.stringify(sent), { id })).status).toBe(200);
    }
    expect(log.filter(({ level }) => level === "warn")).toEqual([
      { level: "warn", message: "a sweep's time is ahead", id: "in_10", ahead_seconds: expect.closeTo(600, -2) },
      { level: "warn", message: "a sweep's time is past", id: "in_-11", late_seconds: expect.closeTo(660, -2) },
      { level: "warn", message: "a sweep's duration is long", id: "long", duration_seconds: 1840 },
      {
        level: "warn",
        message: "fields ignored",
        id: "misspelt",
        fields: ["id", "data.pahse", `data.${"x".repeat(35)}`],
      },
    ]);
  });

  it("409 to a delivery of another stage, and 400 to what is no stage, once it is signed; counts neither", async () => {
    const log = captureLog();
    const sendOf = async (sent: string, secretOfSender = secret, id = "msg_1") => {
      const { status, json } = await post(server.url, secretOfSender, body, { id, headers: { "veza-stage": sent } });
      return [status, json.error, json.stage];
    };
    const of = (theirs: string, ours: string) =>
      `veza-stage: the delivery is of ${theirs}, and this receiver of ${ours}`;
    const other = of("the stage staging", `the stage ${stage}`);
    expect(await sendOf("staging")).toEqual([409, other, stage]);
    expect(log).toEqual([{ level: "warn", message: "delivery refused", id: "msg_1", status: 409, error: other }]);
    for (const none of ["", "receiver,receiver", "a b", "é", "../prod"]) {
      expect(await sendOf(none)).toEqual([400, "veza-stage: may hold letters, digits, _ and - only", stage]);
    }
    expect(await sendOf("staging", newSecret())).toEqual([401, expect.stringMatching("does not match"), undefined]);
    expect(await recorded()).toEqual(nothing);
    setEnvironment({ STAGE: undefined });
    expect(await sendOf(stage)).toEqual([409, of(`the stage ${stage}`, "no stage"), null]);
    expect(await recorded()).toEqual(nothing);
    setEnvironment({ STAGE: stage });
    expect(await sendOf(stage)).toEqual([200, undefined, stage]);
    expect(await recorded()).toEqual({ deliveries: 1, orphans: 1 });
  });

  it("503 with a sentence from a database of another stage's, and counts nothing", async () => {
    const log = captureLog();
    await post(server.url, secret, "[]", { id: "first" });
    setEnvironment({ STAGE: "another" });
    const { status, json, headers } = await post(server.url, secret, body, { id: "other" });
    const why = `the totals in this database are of the stage ${stage}, and STAGE here is of the stage another`;
    const error = `${why}: docs/settings.md; send again with the same webhook-id`;
    expect([status, json, headers.get("retry-after")]).toEqual([503, { error, stage: "another" }, "5"]);
    expect(log.at(-1)).toMatchObject({
      level: "error",
      message: "delivery not confirmed",
      reason: `${why}: docs/settings.md`,
    });
    setEnvironment({ STAGE: stage });
    expect((await recorded()).deliveries).toBe(1);
  });

  it("400 to events of which one is wrong, counts none, and logs whose delivery it was", async () => {
    const log = captureLog();
    setEnvironment({ STAGE: undefined }); // Not taken for a request that nobody has signed.
    const wrong = JSON.stringify([orphan, { ...orphan, type: "x" }]);
    const { status, json } = await post(server.url, secret, wrong, { id: "msg_bad" });
    expect([status, json]).toEqual([400, { error: expect.stringContaining("[1].type: must be one of "), stage: null }]);
    expect(log).toEqual([{ level: "warn", message: "delivery refused", id: "msg_bad", status, error: json.error }]);
    expect(await recorded()).toEqual(nothing);
  });

  it("400 to a webhook-id that is too long, or not plain", async () => {
    const log = captureLog();
    // The header arrives as Latin-1 text; the signature is made over what arrives.
    for (const id of ["has.stop", "x".repeat(257), "two words", "umlaut-\u00e4"]) {
      const { status, json } = await post(server.url, secret, body, { id });
      const error = expect.stringContaining("webhook-id: must be 1 to 256 printable ASCII characters");
      expect([status, json]).toEqual([400, { error, stage }]);
      expect(log.at(-1)).toMatchObject({ message: "delivery refused", status: 400, id: id.slice(0, 256) });
    }
    expect(await recorded()).toEqual(nothing);
  });

  it("413 to a body over 256 KiB, and takes one of 256 KiB, with an id of 256 characters", async () => {
    captureLog();
    const padded = (bytes: number) => body.padEnd(bytes, " ");
    const { status, json } = await post(server.url, secret, padded(256 * 1024 + 1));
    expect([status, json.stage]).toEqual([413, stage]);
    expect((await post(server.url, newSecret(), padded(256 * 1024 + 1))).status).toBe(401);
    expect(await recorded()).toEqual(nothing);
    expect((await post(server.url, secret, padded(256 * 1024), { id: "x".repeat(256) })).status).toBe(200);
  });

  it("400 to a body that is not UTF-8, as a compressed one, which says nothing of a secret", async () => {
    captureLog();
    const { status, json } = await post(server.url, secret, gzipSync(body));
    expect([status, json]).toEqual([400, { error: "the body must be JSON in UTF-8, and not compressed", stage }]);
    expect(await recorded()).toEqual(nothing);
  });
});

describe("503 with retry-after, nothing recorded, and the same id is good again later:", () => {
  const connectTo = (port: number) =>
    setEnvironment({ DATABASE_URL: database.receiverUrl.replace(/:\d+\//, `:${port}/`) });
  const reconnect = async () => setEnvironment({ DATABASE_URL: database.receiverUrl });

  async function expectUnavailable(reason: string | RegExp, repair: () => Promise<unknown>, deliveries = 1) {
    const log = captureLog();
    const stopwatch = startStopwatch();
    const ids = Array.from({ length: deliveries }, (_, index) => `msg_${index + 1}`);
    const answers = await Promise.all(ids.map((id) => post(server.url, secret, body, { id })));
    expect(stopwatch()).toBeLessThan(8_000); // 5 s to record, and not twice.
    for (const answer of answers) {
      expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
      expect(answer.json.error).toBe("not confirmed; send again with the same webhook-id");
    }
    expect(log.map(({ id }) => id).sort()).toEqual(ids.toSorted());
    for (const line of log) {
      expect(line).toMatchObject({ level: "error", message: "delivery not confirmed" });
      expect(line.reason).toMatch(reason);
    }
    expect(JSON.stringify(log)).not.toContain(":receiver@");
    await repair();
    expect(await recorded()).toEqual(nothing);
    const again = await post(server.url, secret, body, { id: "msg_1" });
    expect(again).toMatchObject({ status: 200, json: { status: "recorded" } });
  }

  it("Postgres is mute, to 30 deliveries at once: most wait for a connection, and have no time of their own", async () => {
    let dials = 0;
    connectTo(
      await tcpServer(() => {
        dials += 1;
      }),
    );
    // In its second dial by then; in its first, if it noticed at once that the connection it kept was lost.
    await expectUnavailable(/^Postgres: no answer within 5000 ms$|CONNECT_TIMEOUT/, reconnect, 30);
    expect(dials).toBeLessThan(33); // Whose time is over does not dial: 11 to 30, and otherwise 35.
  });

  it("a table is locked", async () => {
    const unlock = await lockTable(database, "ledger_metrics.deliveries");
    await expectUnavailable("canceling statement due to lock timeout", unlock);
  });

  it("a setting is missing", async () => {
    setEnvironment({ WEBHOOK_SECRET: undefined });
    await expectUnavailable("WEBHOOK_SECRET is missing", async () => setEnvironment({ WEBHOOK_SECRET: secret }));
  });
});

it("answers within its time while Postgres is slow, also on connections that it keeps, however many wait", async () => {
  captureLog();
  const many = (count: number, name: string) =>
    Promise.all(Array.from({ length: count }, (_, n) => post(server.url, secret, body, { id: `${name}_${n}` })));
  await many(5, "warm");
  await database.admin.unsafe(`create function slow() returns trigger language plpgsql as
    $$ begin perform pg_sleep(1.2); return new; end $$;
    create trigger slow before insert on ledger_metrics.deliveries for each row execute function slow()`);
  const stopwatch = startStopwatch();
  const answers = await many(60, "slow");
  expect(stopwatch()).toBeLessThan(8_000);
  await database.admin.unsafe("drop function slow cascade");
  const statuses = answers.map(({ status }) => status);
  expect(new Set(statuses)).toEqual(new Set([200, 503]));
  const again = await many(60, "slow");
  expect(new Set(again.map(({ status }) => status))).toEqual(new Set([200]));
});

it("records on a new connection at once when the link that it kept died without a sign", async () => {
  captureLog();
  const { port } = targetOf(database.receiverUrl);
  const proxy = await startProxy(port);
  setEnvironment({ DATABASE_URL: database.receiverUrl.replace(`:${port}/`, `:${proxy.port}/`) });
  await post(server.url, secret, body);
  proxy.silence();
  const stopwatch = startStopwatch();
  expect((await post(server.url, secret, body)).json).toEqual({ status: "recorded", published: true, stage });
  expect(stopwatch()).toBeLessThan(3_500);
  expect(await recorded()).toEqual({ deliveries: 2, orphans: 2 });
});

it("confirms nothing, ends the connection and asks on the next one, when Postgres can only be read", async () => {
  captureLog();
  await post(server.url, secret, "[]");
  const sessions = () => database.admin`select pid from pg_stat_activity
    where application_name = 'veza-ledger-receiver' and datname = current_database()`;
  const [kept] = await sessions();
  await database.admin.unsafe(`create function demote() returns trigger language plpgsql
    as $$begin if pg_backend_pid() = ${kept?.pid} then raise 'demoted' using errcode = '25006'; end if; return null; end$$;
    create trigger demote after insert on ledger_metrics.deliveries for each row execute function demote()`);
  onTestFinished(async () => void (await database.admin`drop function demote cascade`));
  expect((await post(server.url, secret, body)).json).toMatchObject({ status: "recorded" });
  await expect.poll(sessions).not.toContainEqual(kept);
  expect(await sessions()).toHaveLength(1);
  expect(await recorded()).toEqual({ deliveries: 2, orphans: 1 });
});

it("records with a mute gateway, and says published:false", async () => {
  const log = captureLog();
  setEnvironment({ PUSHGATEWAY_URL: `http://127.0.0.1:${await tcpServer(() => {})}` });
  const answer = await post(server.url, secret, body);
  expect(answer).toMatchObject({ status: 200, json: { status: "recorded", published: false } });
  const reason = "the Pushgateway: no answer within 1500 ms";
  expect(log[0]).toMatchObject({ level: "warn", message: "totals not published", reason });
  expect(await recorded()).toEqual({ deliveries: 1, orphans: 1 }); // The next tick publishes: counts/sampler.test.ts.
});
