// takeback, drop_group, retire_phase and resend: what people do by day about lost and wrong events.
// test/totals/failover.test.ts has the losses.
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { ledgerOf } from "../../commands/oncall/postgres.ts";
import { ownTerminal, type Terminal } from "../../commands/oncall/terminal.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { recordDelivery } from "../../lib/totals/deliveries.ts";
import { parseEvents, tally } from "../../lib/totals/events.ts";
import { publishTotals } from "../../lib/totals/publish.ts";
import { databaseForFile, lend, locks, openConnection, urlAs } from "../helpers/database.ts";
import { scrape, wipe } from "../helpers/gateway.ts";
import { type Addresses, done, failed, stageWith } from "../helpers/on-call.ts";
import { httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const stage = "wrong";
const timestamp = "2026-01-31T12:00:00Z";
const action = { type: "reconciler.action", timestamp, data: { phase: "stuck_orders" } };
const orphan = { type: "reconciler.orphan_refund", timestamp };
const sweep = { type: "reconciler.sweep", timestamp, data: { duration_seconds: 1.84 } };
/** Of each kind, so that it shows which totals a statement leaves alone. */
const all = [
  action,
  orphan,
  sweep,
  { ...action, data: { phase: "stuck_refunds" } },
  { ...sweep, data: { duration_seconds: 0.3 } },
];

const database = await databaseForFile();
const addresses = { STAGE: stage, DATABASE_URL: urlAs("veza_ledger_oncall", database.adminUrl) };
const onCallWith = (more: Addresses) => stageWith({ ...addresses, PUSHGATEWAY_URL: inject("pushgatewayUrl"), ...more });
const own = onCallWith({});
beforeEach(async () => {
  await database.admin`truncate ledger_metrics.deliveries, ledger_metrics.totals`;
  await wipe(stage);
});

/** Records these events under an id of their own, and publishes. Returns what the gateway shows then. */
async function count(id: string, ...events: object[]): Promise<Record<string, number>> {
  const connection = await openConnection(database.receiverUrl);
  const increments = tally(parseEvents(JSON.stringify(events)));
  await recordDelivery(connection.sql, { id, increments, stage });
  const lent = lend(connection, () => openConnection(database.receiverUrl));
  await publishTotals(lent, { pushgateway: { url: inject("pushgatewayUrl") }, stage }, deadlineFor("test", 60_000));
  return scrape(stage);
}

/** By how much each series has grown. */
const increase = (from: Record<string, number>, to: Record<string, number>) =>
  Object.entries(to).map(([name, value]) => [name, (value - (from[name] ?? 0)).toFixed(9)]);

const yes = { answers: ["yes", "both"] }; // The password of veza_ledger, which counts where there is no AWS.
const takeback = (what: string) => done(own, `takeback ${what}`, yes);
const refused = (what: string) => failed(own, `takeback ${what}`, yes);
const totals = () => database.admin`select * from ledger_metrics.totals order by name, labels`;

describe("takeback", () => {
  it.each([
    ["an action", [action], "action stuck_orders"],
    ["an orphan refund", [orphan], "orphan refund"],
    ["a sweep", [sweep], "sweep"],
    [
      "all that a delivery has counted",
      [action, action, orphan, sweep, { ...action, data: { phase: "stuck_refunds" } }],
      "",
    ],
  ])("takes back %s once: the next of its kind does not show, and the one after does", async (_, events, kind) => {
    await count("another", { ...action, data: { phase: "orphan_refunds" } });
    const before = await count("before", ...all);
    const wrong = await count("wrong", ...events);
    const untouched = await totals();
    expect(await refused(`made_up '${kind}'`)).toContain("no delivery of the last 14 days has the id made_up");
    if (kind) expect(await refused(`another '${kind}'`)).toContain("no such event");
    expect(await failed(own, `takeback wrong '${kind}'`, { answers: ["no", "both"] })).toContain("Nothing is done.");
    expect(await totals()).toEqual(untouched);
    expect(await takeback(`wrong '${kind}'`)).toMatch(/wrong has counted: .*taken back.* of wrong/s);
    expect(await refused(`wrong '${kind}'`)).toContain("it was taken back before");
    expect(await count("nothing")).toEqual(wrong);
    expect(await count("next", ...events)).toEqual(wrong);
    expect(increase(wrong, await count("after", ...events))).toEqual(increase(before, wrong));
  });

  it.each([
    ["action stuck_orders", action],
    ["orphan refund", orphan],
  ])("takes back several of one kind, %s, and never more than the delivery has", async (kind, event) => {
    await count("wrong", event, event, event, action, orphan);
    for (const number of [5, 0]) {
      expect(await refused(`wrong '${kind}' ${number}`), `${number}`).toContain("no such event");
    }
    await takeback(`wrong '${kind}' 4`);
    expect(await database.admin`select ahead from ledger_metrics.totals where ahead <> 0`).toEqual([{ ahead: "4" }]);
    await takeback(`wrong '${kind === "orphan refund" ? "action stuck_orders" : "orphan refund"}'`); // Another kind.
  });

  it("leaves a sweep of several, whose buckets are not known", async () => {
    await count("wrong", sweep, { ...sweep, data: { duration_seconds: 9 } });
    const before = await totals();
    expect(await refused("wrong sweep")).toContain("no such event");
    expect(await totals()).toEqual(before);
  });

  it("lowers the number at once, in one transaction with the group on the gateway", async () => {
    await count("right", orphan);
    expect(await count("wrong", orphan)).toMatchObject({ veza_reconciler_orphan_refunds_total: 2 });
    expect(await takeback("wrong now")).toContain("The counters on the gateway are deleted.");
    expect(await scrape(stage)).toEqual({});
    expect(await count("nothing")).toMatchObject({
      veza_reconciler_orphan_refunds_total: 1,
      veza_reconciler_counters_held: 0,
    });
  });

  it("deletes nothing on the gateway where nothing is taken back", async () => {
    const before = await count("right", orphan);
    expect(await refused("right sweep now")).toContain("no such event");
    expect(await scrape(stage)).toEqual(before);
  });

  it("changes nothing at once where the gateway does not delete the group, or has none", async () => {
    const before = await count("right", orphan);
    const seen: unknown[] = [];
    const held: unknown[] = [];
    const redirecting = await httpServer(async (request, response) => {
      if (request.url !== "/-/ready") seen.push([request.method, request.headers.authorization]);
      // Nobody else may publish meanwhile.
      if (request.method === "DELETE") {
        held.push(...(await locks(database, "granted", "ledger_metrics.publisher")));
      }
      const shown = `push_time_seconds{instance="",job="veza_reconciler",stage="${stage}"} 1`;
      response.writeHead(request.method === "DELETE" ? 308 : 200, { location: "/" }).end(`${shown}\n`);
    });
    const gateway = onCallWith({ PUSHGATEWAY_URL: redirecting, PUSHGATEWAY_TOKEN: "hunter2" });
    const withToken = { ...yes, secrets: ["oncall", "key", "hunter2"] };
    for (const command of ["takeback right now", "drop_group"]) {
      expect((await failed(gateway, command, withToken)).trim()).toMatch(/the gateway has not deleted them\.$/);
    }
    expect(seen).toEqual(["GET", "DELETE", "GET", "DELETE"].map((method) => [method, "Bearer hunter2"]));
    expect(held).toEqual([{ mode: "ExclusiveLock" }, { mode: "ExclusiveLock" }]);
    await wipe(stage);
    for (const command of ["takeback right now", "drop_group"]) {
      expect(await failed(own, command, yes)).toContain("the gateway has no counters of the stage 'wrong'");
    }
    expect(await count("nothing")).toEqual(before);
  });

  it("changes nothing in a database that is another stage's by now", async () => {
    const before = await count("right", orphan);
    onTestFinished(() => database.admin`truncate ledger_metrics.stage`.then(() => {}));
    // It answers before the counters are changed, and after the delivery was read.
    const gateway = await httpServer(async (_, response) => {
      await database.admin`truncate ledger_metrics.stage`;
      await database.admin`insert into ledger_metrics.stage (stage) values ('another')`;
      response.end(`push_time_seconds{job="veza_reconciler",stage="${stage}"} 1\n`);
    });
    for (const command of ["takeback right now", "drop_group"]) {
      await database.admin`truncate ledger_metrics.stage`;
      const said = await failed(onCallWith({ PUSHGATEWAY_URL: gateway }), command, yes);
      expect(said).toContain("of the stage 'wrong', and its database is of the stage 'another'");
    }
    await database.admin`truncate ledger_metrics.stage`; // To publish again.
    expect(await count("nothing")).toEqual(before);
  });

  it("waits for the publishers' lock, and holds it, for 15 s at most", async () => {
    const terminal: Terminal = { ...ownTerminal(), secret: async () => "both" };
    const ledger = ledgerOf(own, terminal, {}, new AbortController().signal);
    const limits = await ledger.correct(
      (sql) => sql`select current_user as role, current_setting('statement_timeout') as statement,
        current_setting('lock_timeout') as lock, current_setting('idle_in_transaction_session_timeout') as idle`,
    );
    await ledger.close();
    expect(limits).toEqual([{ role: "veza_ledger_receiver", statement: "15s", lock: "15s", idle: "15s" }]);
  });

  it("drops a group that is too high, and the next publish fills it in again", async () => {
    const before = await count("right", ...all);
    const high = "# TYPE veza_reconciler_orphan_refunds_total counter\nveza_reconciler_orphan_refunds_total 99\n";
    const group = `${inject("pushgatewayUrl")}/metrics/job/veza_reconciler/stage/${stage}`;
    await fetch(group, { method: "POST", body: high });
    expect(await done(own, "drop_group", yes)).toContain("The counters on the gateway are deleted.");
    expect(await count("nothing")).toEqual(before);
  });

  it("forgets the last run of one phase, until a sweep names it again", async () => {
    const lastRunOf = (phase: string) => `veza_reconciler_phase_last_run_timestamp_seconds{phase="${phase}"}`;
    const sweepOf = (phase: string) => ({ ...sweep, data: { ...sweep.data, phase } });
    const before = await count("before", ...all, sweepOf("stuck_orders"), sweepOf("stuck_refunds"));
    expect(await done(own, "retire_phase stuck_orders", { answers: ["both"] })).toContain("stuck_orders");
    expect(await count("nothing")).toEqual({ ...before, [lastRunOf("stuck_orders")]: 0 });
    const again = await count("again", sweepOf("stuck_orders"));
    expect(again[lastRunOf("stuck_orders")]).toBe(Date.parse(timestamp) / 1_000);
  });

  it("logs in on AWS as the receiver, by IAM where no password is typed", async () => {
    await count("wrong", action);
    const programs = await newFolder();
    const aws = '#!/bin/sh\n[ "$1 $2" = "rds generate-db-auth-token" ] && echo receiver\n';
    await writeFile(path.join(programs, "aws"), aws, { mode: 0o755 });
    const onAws = onCallWith({ AWS_REGION: "eu-central-1" });
    const typed = { answers: ["yes", ""], programs: `${programs}:${process.env.PATH}` };
    expect(await done(onAws, "takeback wrong", typed)).toContain("action stuck_orders of wrong");
  });

  it("has the outbox send again what it has sent since a time, and nothing that was first sent over 13 days ago", async () => {
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
    onTestFinished(() => database.admin`truncate ledger_outbox.deliveries`.then(() => {}));
    await database.admin`insert into ledger_outbox.deliveries (id, body, sent_at, first_sent_at, claimed_until) values
      ('before', '[]', now() - interval '3 hours', now() - interval '3 hours', null),
      ('since', '[]', now() - interval '1 hour', now() - interval '1 hour', null),
      -- A receiver that is gone may have answered it.
      ('claimed', '[]', null, now() - interval '1 minute', now() + interval '1 minute'),
      ('old', '[]', now() - interval '1 hour', now() - interval '14 days', null)`;
    await database.admin`insert into ledger_outbox.deliveries (id, body, parked_at) values ('parked', '[]', now())`;
    const since = new Date(Date.now() - 7_200_000).toISOString();
    const typed = { answers: ["postgres", new URL(database.adminUrl).password] };
    expect(await done(own, `resend ${since}`, typed)).toMatch(/\n2 deliveries are sent again\.\n$/);
    const due = await database.admin`select id from ledger_outbox.deliveries
      where sent_at is null and parked_at is null and claimed_until is null and next_attempt_at <= now() order by id`;
    expect(due).toEqual([{ id: "claimed" }, { id: "since" }]);
    expect(await failed(own, "resend", typed)).toContain("Say since when");
    for (const login of ["postgres://x y", "postgres://me:hunter2@127.0.0.1/x", "https://me@127.0.0.1/x"]) {
      expect(await failed(own, `resend ${since}`, { answers: [login] })).toContain("a URL has to be postgres://LOGIN@");
    }
    expect(await failed(own, "resend yesterdayish", typed)).toContain("invalid input syntax");
    await database.admin`truncate ledger_metrics.stage`;
    onTestFinished(() => database.admin`truncate ledger_metrics.stage`.then(() => {}));
    await database.admin`insert into ledger_metrics.stage (stage) values ('another')`;
    expect(await failed(own, `resend ${since}`, typed)).toContain("its database is of the stage 'another'");
  });
});
