// The commands of people on call on real servers. lost-and-wrong-events.test.ts has those by day, and test/oncall what
// needs no server.
import { chmod, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { checkNames } from "../../commands/oncall/checks.ts";
import type { Stage } from "../../commands/oncall/stage.ts";
import { checks } from "../../lib/counts/checks.ts";
import { sampleTimestampMetric } from "../../lib/counts/sample.ts";
import { startPostgres } from "../../local/postgres.ts";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { startReplica } from "../chaos/servers.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { makeCertificates, tlsFlags } from "../helpers/certificates.ts";
import { createDatabase, lockTable, type TestDatabase, urlAs } from "../helpers/database.ts";
import { insertRows, onTable } from "../helpers/models.ts";
import { resultOf, setGroup } from "../helpers/monitoring.ts";
import { type Addresses, done, failed, nowhere, stageWith } from "../helpers/on-call.ts";
import { fileDone, fileWith } from "../helpers/on-call-file.ts";
import { type Host, newHost } from "../helpers/on-call-host.ts";
import { createTemplate } from "../helpers/template.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

it("shows no number that a replica has answered", async () => {
  const replica = await startReplica();
  const stage = stageWith({ DATABASE_URL: replica.replace("sampler:sampler@", "oncall@") });
  for (const command of ["rows stuck_orders", "all_rows", "sql 'select 1'", "sweeps"]) {
    const said = await failed(stage, command);
    expect(said, command).toMatch(/^Nothing is known: a replica has answered.*\n$/);
  }
});

it("verifies Postgres by the authority in PGSSLROOTCERT", async () => {
  const certificates = await makeCertificates("IP:127.0.0.1,DNS:localhost");
  const server = await startPostgres(0, tlsFlags(certificates));
  onTestFinished(() => server.stop());
  await createTemplate(server.superuserUrl);
  const database = await createDatabase(server.superuserUrl);
  onTestFinished(() => database.remove());
  const DATABASE_URL = urlAs("veza_ledger_oncall", database.adminUrl);
  const stageOf = (PGSSLROOTCERT: string) => stageWith({ DATABASE_URL, PGSSLMODE: "verify-full", PGSSLROOTCERT });
  expect(await done(stageOf(certificates.ca), "rows stuck_orders")).toContain("0 of stuck_orders fire");
  const another = await makeCertificates("IP:127.0.0.1");
  for (const [authority, advice] of [
    [another.ca, `${another.ca} does not have the authority`],
    ["", "Then set NODE_EXTRA_CA_CERTS to a file with it"],
  ] as const) {
    expect(await failed(stageOf(authority), "rows stuck_orders")).toMatch(
      new RegExp(`verify the first certificate.*\n.*${advice}`),
    );
  }
  expect(await failed(stageOf("/none.pem"), "rows stuck_orders")).toContain("curl -sSfo '/none.pem'");
  vi.stubEnv("NODE_EXTRA_CA_CERTS", certificates.ca); // Which Node reads when it starts.
  onTestFinished(() => void vi.unstubAllEnvs());
  const file = await fileWith({ DATABASE_URL, PGSSLMODE: "verify-full" });
  expect(await fileDone(file, "rows stuck_orders")).toContain("0 of stuck_orders fire");
});

describe("on real servers", () => {
  let database: TestDatabase;
  let gateway: Running;
  let prometheus: Running;
  let alertmanager: Running;
  let stage: Stage;
  let host: Host;
  const addresses = () => ({
    PROMETHEUS_URL: prometheus.url,
    ALERTMANAGER_URL: alertmanager.url,
    PUSHGATEWAY_URL: gateway.url,
    DATABASE_URL: urlAs("veza_ledger_oncall", database.adminUrl),
  });
  const run = (command: string, ...answers: string[]) => done(stage, command, { ...host, answers });
  const fail = (command: string, ...answers: string[]) => failed(stage, command, { ...host, answers });
  const tick = { level: "info", message: "tick", stuck_orders: 1 };
  const setTick = (secondsAgo: number) =>
    setGroup(gateway.url, "veza_ledger", "prod", [`${sampleTimestampMetric} ${Date.now() / 1_000 - secondsAgo}`]);

  beforeAll(async () => {
    host = await newHost();
    await host.set([tick]);
    database = await createDatabase();
    [gateway, alertmanager] = await Promise.all([
      startPushgateway(0),
      startAlertmanager(0, "{ route: { receiver: nobody }, receivers: [{ name: nobody }] }"),
    ]);
    await setTick(0);
    const urls = { pushgatewayUrl: gateway.url, alertmanagerUrl: alertmanager.url };
    prometheus = await startPrometheus(0, { ...urls, rules, interval: "1s" });
    await vi.waitFor(async () => expect(await resultOf(prometheus.url, sampleTimestampMetric)).toHaveLength(1), 60_000);
    stage = stageWith(addresses());
  });
  afterAll(async () => {
    for (const part of [prometheus, alertmanager, gateway]) await part?.stop();
    await database?.remove();
  });

  it.each(checks.filter(({ id }) => shapes.includes(id)))(
    "lists the rows of $id that fire, says whether it goes on, accepts and takes back",
    async (check) => {
      const { id, stuckAfter } = check;
      const listed = await rowsOf(database, id);
      expect(await run(`rows ${id}`)).toContain(`0 of ${id} fire now`);
      await database.admin.unsafe(insertRows(check, 3));
      onTestFinished(() => database.admin.unsafe(`delete from ${check.table}`).then(() => {}));
      const time = check.time === "created_at" ? "created_at" : "updated_at";
      const printed = await run(`rows ${id}`);
      expect(printed).toMatch(
        new RegExp(`^3 of ${id} fire now, .*No new one for a while: the newest is \\d+ min`, "s"),
      );
      const rows = await rowsOf(database, id);
      const fresh = rows.filter((row) => !listed.includes(row));
      for (const row of fresh) expect(printed).toMatch(new RegExp(`^${row} +20`, "m"));
      await database.admin.unsafe(insertRows(check, 1));
      await database.admin.unsafe(`update ${check.table} set ${time} = now() - interval '${stuckAfter ?? "0 minutes"}'
      - interval '1 minute' where id = (select max(id) from ${check.table})`);
      expect(await run(`rows ${id}`)).toContain("IT GOES ON: the newest is ");
      expect(await run("all_rows")).toMatch(new RegExp(`^${id} +[34] fire`, "m"));

      const why = "the bank's $HOME \\n";
      const written = await run(`accept ${id} 5 days`, `${fresh[0]}, ${fresh[1]}`, `${fresh[2]}`, "", why);
      expect(written.match(/accepted until 20/g)).toHaveLength(3);
      expect(
        await database.admin.unsafe(`select from ledger_metrics.${id}() where accepted_until > now()`),
      ).toHaveLength(3);
      expect(await run("accepted")).toContain(why);
      const back = await run(`accept ${id} 0 days`, `${fresh[0]}`, "", "paid");
      expect(back).toMatch(new RegExp(`(^|: )${fresh[0]} .*TAKEN BACK: it fires again`, "m"));
      expect(
        await database.admin.unsafe(`select from ledger_metrics.${id}() where accepted_until > now()`),
      ).toHaveLength(2);
    },
  );

  it("accepts a backlog at once, and leaves out what is young", async () => {
    await database.admin`insert into orders (status, hyperswitch_payment_id, created_at)
      select 'pending', 'p', now() - interval '30 days' from generate_series(1, 50)`;
    await database.admin`insert into orders (status, hyperswitch_payment_id, created_at)
      values ('pending', 'tonight', now() - interval '2 hours')`;
    onTestFinished(() => database.admin`delete from orders`.then(() => {}));
    expect(await fail("accept_backlog stuck_orders 14 days", "", "")).toMatch(
      /accepts 50 rows, of which 50 fire.*Nothing is accepted/s,
    );
    expect(await run("accept_backlog stuck_orders 14 days", "", "an import, Ada")).toMatch(/50 {2}20/);
    expect(await run("rows stuck_orders")).toMatch(/^1 of stuck_orders fire now.*50 accepted.*tonight/s);
    expect(await run("accept_backlog stuck_orders 1 day", "1 hour", "a test")).toMatch(/1 {2}20/);
    expect(await run("rows stuck_orders")).toContain("0 of stuck_orders fire now");
  });

  it("accepts what the first day has accepted for longer, as a backlog", async () => {
    const endFirstDay = () => database.admin`update ledger_metrics.first_day set until = now() - interval '1 day'`;
    onTestFinished(() => endFirstDay().then(() => {}));
    onTestFinished(() => database.admin`delete from orders`.then(() => {}));
    await database.admin`update ledger_metrics.first_day set began_at = now(), until = now() + interval '10 days'`;
    await database.admin`insert into orders (status, hyperswitch_payment_id, created_at)
      values ('pending', 'old', now() - interval '30 days')`;
    expect(await run("accepted")).toMatch(/Besides, until 20.* stuck on the first day/);
    expect(await run("accept_backlog stuck_orders 90 days", "", "carts, Ada")).toMatch(
      /1 rows, of which 0 fire.* 1 {2}20/s,
    );
    await endFirstDay();
    expect(await run("rows stuck_orders")).toMatch(/^0 of stuck_orders fire now.*1 accepted/);
  });

  it("says what is wrong with an id, a span or a reason, and then accepts nothing", async () => {
    expect(await fail("accept stuck_orders 1 day", "4711", "", "x")).toMatch(/Nothing is accepted: .*4711/);
    expect(await fail("accept stuck_orders 91 days", "4711", "", "x")).toMatch(/Nothing is accepted/);
    expect(await fail("accept stuck_orders 1 day", "", "x")).toMatch(/Nothing is accepted: .*empty/);
    expect(await database.admin`select from ledger_metrics.accepted where id = '4711'`).toEqual([]);
  });

  it("lists failed orphans by age, and orders and payments where people on call may read them", async () => {
    await database.admin.unsafe(`
      insert into orders (status, hyperswitch_payment_id) values ('paid', 'pay_7');
      insert into refunds (status, created_at, updated_at) values
        ('failed', now() - interval '2 hours', now() - interval '10 minutes'),
        ('failed', now() - interval '2 hours', now() - interval '9 days')`);
    onTestFinished(() => database.admin.unsafe("delete from orders; delete from refunds").then(() => {}));
    expect(await run("rows orphan_refunds")).toMatch(
      /1 were marked as failed in the last hour, 1 in a day, 2 in 14 days\.[\s\S]*failed_at/,
    );
    await database.admin.unsafe(`alter table refunds add order_id bigint; grant select (order_id) on refunds
      to veza_ledger_oncall; update refunds set order_id = (select id from orders)`);
    onTestFinished(() => database.admin.unsafe("alter table refunds drop order_id").then(() => {}));
    expect(await run("rows orphan_refunds")).toMatch(/refund {2}order {2}payment.* pay_7/s);
  });

  it("does nothing in the database of another stage, and reads alone", async () => {
    await database.admin`insert into ledger_metrics.stage (stage) values ('staging')`;
    const forget = () => database.admin`delete from ledger_metrics.stage`.then(() => {});
    onTestFinished(forget);
    for (const command of ["rows stuck_orders", "all_rows", "sql 'select 1'", "accept stuck_orders 1 day"]) {
      expect(await fail(command)).toContain("of the stage 'prod', and its database is of the stage 'staging'");
    }
    await forget();
    expect(await run("sql 'select 40 + 2'")).toContain("42");
    expect(await fail("sql 'commit; select 1'")).toContain("multiple commands");
    expect(await fail("sql 'update public.orders set status = 1'")).toContain("in a read-only transaction");
    expect(await run("sql", "select 40 + 2;", "update public.orders set status = 'x';")).toMatch(
      /42[\s\S]*in a read-only transaction/,
    );
  });

  it("takes its password from a file such as ~/.pgpass, unless others may read it", async () => {
    const file = path.join(await newFolder(), "pgpass");
    await writeFile(file, "*:*:*:veza_ledger_oncall:oncall\n", { mode: 0o644 });
    vi.stubEnv("PGPASSFILE", file);
    onTestFinished(() => void vi.unstubAllEnvs());
    const typesNothing = { secrets: [""] };
    expect(await failed(stage, "sweeps", typesNothing)).toMatch(/others may read it.*\nPassword of .*is wrong/s);
    await chmod(file, 0o600);
    expect(await done(stage, "sweeps", typesNothing)).toContain("The last sweep");
  });

  it("fails, and names what is unknown, where a table is locked; other checks are shown", async () => {
    const unlock = await lockTable(database, "orders");
    onTestFinished(unlock);
    expect(await fail("rows stuck_orders")).toMatch(/^ERROR: canceling statement due to lock timeout/);
    const shown = await fail("all_rows");
    const unknown = checkNames.filter((name) => name in onTable("orders", ""));
    for (const name of checkNames) {
      const says = unknown.includes(name) ? `lock timeout\\n${name} +unknown` : `^${name} +0 fire`;
      expect(shown).toMatch(new RegExp(says, "m"));
    }
    expect(shown).toMatch(new RegExp(`Unknown: ${unknown.join(", ")}\\.\\n$`));
  });

  it("says that the log is unknown where it cannot be read, and otherwise what it lacks", async () => {
    onTestFinished(() => host.set([tick]));
    await host.set([tick]);
    expect(await run("why_blind")).toMatch(/in the last 2 hours:\n {2}nothing\n$/);
    expect(await run("why_lost")).toMatch(/for _seconds_sum:\n {2}nothing\n$/);
    await host.set([tick], "unknown");
    for (const command of ["why_blind", "why_lost"]) {
      expect(await fail(command), command).toMatch(/:\n {2}unknown\nThe log is on the host of the service/);
    }
  });

  it("marks what is silenced of what fires, and lists silences for the next shift", async () => {
    const silenced = stageWith({ ...addresses(), STAGE: "silenced" });
    await vi.waitFor(async () => expect(await resultOf(prometheus.url, 'ALERTS{alertstate="firing"}')).toHaveLength(1));
    expect(await done(silenced, "firing")).toBe("ticket  VezaLedgerStuckRefunds  stuck_refunds\n");
    expect(await done(silenced, "silences")).toBe("Nothing of this stage is silenced.\n");
    await done(silenced, "silence 8h VezaLedgerStuckRefunds");
    onTestFinished(() => done(silenced, "silence 0h VezaLedgerStuckRefunds").then(() => {}));
    expect(await done(silenced, "firing")).toMatch(/^ticket .* stuck_refunds {2}silenced until 20.{14} UTC\n$/);
    expect(await done(silenced, "silences")).toMatch(
      /\n20.{14} UTC {2}alertname=VezaLedgerStuckRefunds {2}on call: by/,
    );
    expect(await run("silences")).toBe("Nothing of this stage is silenced.\n");
    const without = stageWith({ ...addresses(), STAGE: "silenced", ALERTMANAGER_URL: nowhere });
    expect(await failed(without, "firing")).toMatch(
      /^ticket .* stuck_refunds\nWhich of them are silenced is unknown\./,
    );
  });

  it("silences one alert of its stage, once, says what that hides, and ends it", async () => {
    const silences = async () => {
      const all = (await (await fetch(`${alertmanager.url}/api/v2/silences`)).json()) as {
        status: { state: string };
        matchers: { name: string; value: string; isRegex: boolean }[];
      }[];
      const active = all.filter(({ status }) => status.state === "active");
      return active.map(({ matchers }) => matchers.map(({ name, value }) => `${name}=${value}`).sort()).sort();
    };
    const fires = { alertname: "VezaLedgerStuckRefunds", check: "stuck_refunds", stage: "prod" };
    const body = JSON.stringify([{ labels: fires }, { labels: { ...fires, stage: "another" } }]);
    const headers = { "content-type": "application/json" };
    await fetch(`${alertmanager.url}/api/v2/alerts`, { method: "POST", headers, body });
    expect(await fail("silence 8h VezaLedger")).toContain("Nothing is silenced.");
    expect(await silences()).toEqual([]);
    await run("silence 2h VezaLedgerCheckFailing check=stuck_orders");
    expect(await silences()).toEqual([["alertname=VezaLedgerCheckFailing", "check=stuck_orders", "stage=prod"]]);
    await run("silence 0h VezaLedgerCheckFailing");
    for (const _ of ["first", "second"]) {
      expect(await run("silence 8h VezaLedgerStuckRefunds")).toMatch(
        /this hides:\n {2}VezaLedgerStuckRefunds stuck_refunds\n$/,
      );
    }
    await run("silence 2d VezaLedgerAlertsFail");
    await run("silence 30m VezaLedgerStuckOrders 'reason=repaired late'");
    expect(await silences()).toEqual([
      ["alertname=VezaLedgerAlertsFail"],
      ["alertname=VezaLedgerStuckOrders", "reason=repaired late", "stage=prod"],
      ["alertname=VezaLedgerStuckRefunds", "stage=prod"],
    ]);
    for (const alert of ["AlertsFail", "StuckOrders", "StuckRefunds"]) {
      expect(await run(`silence 0h VezaLedger${alert}`)).toBe("Ended: one silence.\n");
    }
    expect(await silences()).toEqual([]);
    expect(await run("silence 0h VezaLedgerStuckRefunds")).toBe(
      "Nothing was silenced: no silence is of these alerts.\n",
    );
  });

  it("tells what stands still: the sampler, the gateway, Prometheus, Alertmanager, or nothing", async () => {
    await setTick(0);
    await vi.waitFor(async () => {
      const [shown] = await resultOf(prometheus.url, `time() - ${sampleTimestampMetric}`);
      expect(shown?.value).toBeLessThan(60);
    }, 60_000);
    const why = async (other: Addresses = {}) => done(stageWith({ ...addresses(), ...other }), "why_silent", host);
    expect(await why()).toMatch(/TICKS ARRIVE/);
    await host.set([{ ...tick, stuck_orders: -1 }]);
    expect(await why()).toMatch(/BUT A COUNT IS -1/);
    await host.set([{ message: "delivery" }]);
    expect(await why()).toMatch(/THE SAMPLER DOES NOTHING/);
    await host.set([], "failed");
    expect(await why()).toMatch(/THE SERVICE DOES NOT RUN/);
    await host.set([], "unknown");
    expect(await why()).toMatch(/The log is unknown:\nThe log is on the host/);
    await host.set([tick]);
    expect(await why({ PROMETHEUS_URL: nowhere })).toMatch(/PROMETHEUS DOES NOT ANSWER/);
    expect(await why({ PUSHGATEWAY_URL: nowhere })).toMatch(/THE GATEWAY DOES NOT ANSWER/);
    expect(await why({ ALERTMANAGER_URL: nowhere })).toMatch(/ALERTMANAGER DOES NOT ANSWER/);
    expect(await why({ ALERTMANAGER_URL: "" })).not.toMatch(/DOES NOT ANSWER/);
    await setTick(1_000);
    expect(await why()).toMatch(/TICKS ARE IN THE LOG, AND DO NOT ARRIVE/);
    await host.set([
      tick,
      { message: "tick failed", reason: "ECONNREFUSED" },
      ...Array(5).fill({ message: "tick failed" }),
    ]);
    await setGroup(gateway.url, "another", "", [
      "# TYPE veza_ledger_overdue_rows counter",
      "veza_ledger_overdue_rows 1",
    ]);
    onTestFinished(() => setGroup(gateway.url, "another", ""));
    expect(await why()).toMatch(/THE TICKS FAIL[\s\S]*ANOTHER JOB PUSHES OUR METRICS: job="another"/);
  });

  it("shows what else a page asks for: sweeps, the outbox, blind checks, locks, samplers, failing rules", async () => {
    await database.admin.unsafe(`
      insert into ledger_metrics.totals (name, labels, value) values ('veza_reconciler_last_run_timestamp', '{}',
        extract(epoch from now() - interval '20 minutes'));
      insert into ledger_metrics.deliveries (id, digest, words) values ('sweep-1', '', '1 sweep, 2 sweep seconds');
      insert into orders (status, hyperswitch_payment_id, created_at) values ('new_name', 'p', now()),
        ('pending', 'p', now() + interval '1 hour')`);
    onTestFinished(() =>
      database.admin
        .unsafe("truncate ledger_metrics.totals, ledger_metrics.deliveries; delete from orders")
        .then(() => {}),
    );
    expect(await run("sweeps")).toMatch(/ 20.* +20\n.*sweep-1 .*1 sweep, 2 sweep seconds/s);
    expect(await run("why_blind")).toMatch(/orders +new_name +1 .*no count.*orders +.*pending/s);
    const unlock = await lockTable(database, "orders");
    expect(await run("locks")).toMatch(/public.orders|orders.*AccessExclusiveLock/s);
    await unlock();
    expect(await run("outbox")).toMatch(/No outbox is in this database|waiting/);
    expect(await run("why_lost")).toMatch(/started .*first delivery/s);
    expect(await run("why_alerts_fail")).toMatch(/Rules that fail:\n {2}none\nNotifications/);
    expect(await run("firing")).toBe("No alert fires.\n");
    await setGroup(
      gateway.url,
      "veza_ledger",
      "prod",
      ["one", "two"].map((name) => `veza_ledger_sampler_info{database="${name}"} 1`),
    );
    onTestFinished(() => setTick(0));
    await vi.waitFor(
      async () => expect(await run("samplers")).toMatch(/^2 SAMPLERS of one stage[\s\S]*one[\s\S]*two/),
      30_000,
    );
  });
});

/** One alert fires, of a stage of its own. */
const rules = `groups: [{ name: one, rules: [{ alert: VezaLedgerStuckRefunds, expr: vector(1), labels:
  { severity: ticket, stage: silenced, check: stuck_refunds } }] }]`;

/** One check without a time to wait, one with, and that of which failed rows are listed, too. */
const shapes = ["failed_transfers", "stuck_orders", "orphan_refunds"];

const rowsOf = async ({ admin }: TestDatabase, id: string): Promise<string[]> =>
  (await admin.unsafe(`select id from ledger_metrics.${id}()`)).map((row) => String(row.id));
