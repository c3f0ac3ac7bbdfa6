// The Go client's outbox on the way to the real receiver, and its example. go-tests.test.ts has its own tests.
import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { receiverPort } from "../../commands/address.ts";
import { demoSecret } from "../../commands/demo-secret.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { postgresPort } from "../../local/usual-ports.ts";
import { databaseForTest } from "../helpers/database.ts";
import { scrape } from "../helpers/gateway.ts";
import { built, withoutModules } from "../helpers/go.ts";
import { insertRows, justPast } from "../helpers/models.ts";
import { blocksOf } from "../helpers/pages.ts";
import { type Program, runProgram } from "../helpers/processes.ts";
import { newSecret, post, startReceiver } from "../helpers/receiver.ts";
import { httpServer } from "../helpers/servers.ts";

const say = (line: string) => process.stdout.write(`go-client: ${line}\n`);

/** How often both reconcilers are killed at random moments. */
const kills = Number(process.env.OUTBOX_KILLS ?? 6) / 2;

/** A first build compiles Go's own library as well. */
const timeout = 300_000 + kills * 4_000;

let reconciler: string;
beforeAll(async () => {
  if (!withoutModules.skip) reconciler = await built("reconciler");
}, timeout);

describe("the Go outbox", { timeout, ...withoutModules }, () => {
  /** A database of its own with an outbox. */
  async function createOutbox() {
    const database = await databaseForTest();
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
    /** The rows of the outbox for which this holds. */
    const outbox = (condition: string, columns = "") =>
      database.admin.unsafe(`select ${columns} from ledger_outbox.deliveries where ${condition} order by id`);
    const goUrl = `${database.adminUrl}?sslmode=disable&application_name=reconciler`;
    const receive = (STAGE: string, WEBHOOK_SECRET: string, more: Record<string, string> = {}) =>
      startReceiver({ DATABASE_URL: database.receiverUrl, WEBHOOK_SECRET, STAGE, ...more });
    return { ...database, goUrl, outbox, receive };
  }

  /** An outbox, a receiver, and what a program finds both by. */
  async function createWay(stage: string) {
    const database = await createOutbox();
    const secret = newSecret();
    const { url } = await database.receive(stage, secret);
    const environment = { DATABASE_URL: database.goUrl, RECEIVER_URL: url, WEBHOOK_SECRET: secret, STAGE: stage };
    return { ...database, url, secret, environment };
  }

  it("can run every statement of its page for people on call, but sends no events that nobody has filled in", async () => {
    const { admin } = await createOutbox();
    for (const statement of await onCallStatements()) {
      if (statement.includes("EVENTS")) await expect(admin.unsafe(statement)).rejects.toThrow("type json");
      await admin.unsafe(statement.replace("EVENTS", ""));
    }
  });

  it("runs the example of its README, which finds npm start without settings", async () => {
    const { admin, outbox, environment } = await createWay("go_example");
    await admin.unsafe(insertRows({ id: "stuck_orders" }, 1, { age: justPast("stuckAfter", "stuck_orders") }));
    const DEMO_DATABASE_URL = environment.DATABASE_URL;
    const elsewhere = { DATABASE_URL: "postgres://nobody@127.0.0.1:4/real", DEMO_DATABASE_URL };
    const program = runProgram(await built("example"), [], { ...environment, ...elsewhere });
    await program.printed(/repaired order 1/);
    const isSent = (type: string) =>
      outbox(`body::jsonb @> '[{"type":"reconciler.${type}"}]' and sent_at is not null`, "id");
    await expect.poll(() => isSent("sweep")).not.toHaveLength(0);
    await expect.poll(() => isSent("action")).toHaveLength(1);
    const [{ id } = { id: "" }] = await isSent("action");
    await program.printed(new RegExp(`counted (${id})`));
    expect(await admin`select status from orders`).toEqual([{ status: "paid" }]);
    const source = await readFile("clients/go/example/main.go", "utf8");
    for (const text of [`127.0.0.1:${postgresPort}/`, `127.0.0.1:${receiverPort}/`, demoSecret]) {
      expect(source).toContain(text);
    }
  });

  it("parks what the real receiver refuses, as a whole, with its reason and its events in words", async () => {
    const { admin, url, secret, outbox, environment } = await createWay("go_parked");
    const timestamp = "2026-01-31T12:00:00Z";
    const events = (count: number, phase: string) =>
      Array(count).fill({ type: "reconciler.action", timestamp, data: { phase } });
    const used = JSON.stringify(events(1, "stuck_orders"));
    expect((await post(url, secret, used, { id: "taken" })).status).toBe(200);
    for (const [id, body] of Object.entries({
      good: events(1, "stuck_refunds"),
      sweep: [...events(699, "stuck_orders"), ...events(1, "new_phase")],
      taken: events(2, "stuck_orders"),
      "too-many": events(1_500, "stuck_refunds"),
    })) {
      await admin`insert into ledger_outbox.deliveries (id, body) values (${id}, ${JSON.stringify(body)})`;
    }
    runProgram(reconciler, [], environment);
    await expect.poll(() => outbox("sent_at is null and parked_at is null")).toHaveLength(0);

    const rejected = (reason: string) => ({
      last_error: expect.stringMatching(`^ledgermetrics: delivery \\S+ rejected with ${reason}$`),
    });
    expect(await outbox("parked_at is not null", "last_error"), "sweep, taken, too-many").toEqual([
      rejected("400: \\[699\\]\\.data\\.phase: must be .*; not counted: 1 action new_phase, 699 actions stuck_orders"),
      rejected("409: webhook-id: .*; not counted: 2 actions stuck_orders"),
      rejected("413: over 1000 events.*; not counted: 1500 actions stuck_refunds"),
    ]);
    const counted = async (phase: string) =>
      (await scrape("go_parked"))[`veza_reconciler_actions_total{phase="${phase}"}`];
    expect([await counted("stuck_orders"), await counted("stuck_refunds")]).toEqual([1, 1]);

    // As the page for people on call says: somebody has fixed one body, and has seen that of two events one was counted.
    const remedies = (await onCallStatements()).filter((statement) => statement.includes("parked_at = null"));
    expect(remedies).toHaveLength(3);
    await admin`update ledger_outbox.deliveries set body = replace(body, 'new_phase', 'stuck_orders') where id = 'sweep'`;
    const uncounted = JSON.stringify(events(1, "stuck_orders"));
    for (const [index, id] of ["sweep", "taken", "too-many"].entries()) {
      await admin.unsafe((remedies[index] ?? "").replace("[EVENTS]", uncounted).replaceAll("…", id));
    }
    await expect.poll(() => counted("stuck_orders")).toBe(1 + 700 + 1);
    await expect.poll(() => outbox("parked_at is not null", "id")).toEqual([{ id: "too-many-again" }]);
  });

  it("counts each repair exactly once, whatever fails on the way", async () => {
    const stage = "go_client";
    const database = await createOutbox();
    const { admin, outbox } = database;
    await admin.unsafe(`create schema shop;
      create table shop.repairs (sweep int primary key, orders int not null, orphans int not null)`);
    const secret = newSecret();
    const toGateway = await startFront(() => inject("pushgatewayUrl"));

    let receiver: Awaited<ReturnType<typeof startReceiver>>;
    const restartReceiver = async () => {
      receiver = await database.receive(stage, secret, { PUSHGATEWAY_URL: toGateway.url });
    };
    const killReceiver = () => kill(receiver.program);
    const toReceiver = await startFront(() => receiver.url);

    const reconcilers: Program[] = [];
    const startReconciler = (args: number[] = [], environment: Record<string, string> = {}, of = reconciler) => {
      const program = runProgram(of, args.map(String), {
        DATABASE_URL: `${database.goUrl}&search_path=shop`, // The outbox is found all the same.
        RECEIVER_URL: toReceiver.url,
        WEBHOOK_SECRET: secret,
        STAGE: stage,
        ...environment,
      });
      reconcilers.push(program);
      return program;
    };
    const killReconcilers = () => Promise.all(reconcilers.splice(0).map(kill));
    let last = 0;
    const nextSweeps = () => {
      last += 20;
      return [last - 19, last];
    };
    /** 20 more sweeps in a process of its own, which goes on draining next to the others. */
    const repair = () => startReconciler(nextSweeps()).printed(/repaired/);
    const waiting = async () => (await outbox("sent_at is null and parked_at is null")).length;
    const emptied = () => expect.poll(() => waiting()).toBe(0);
    const deliveries = (condition: string) => admin.unsafe(`select from ledger_metrics.deliveries where ${condition}`);
    const sentTwice = async () => (await deliveries("attempts > 1")).length;
    /** Resolves when all is sent that a fault has left, to how many deliveries were sent twice for it. */
    const afterFault = async (happens: () => Promise<unknown>) => {
      const before = await sentTwice();
      await happens();
      // As if a minute had passed: what has failed, or was claimed by a dead process, is due again.
      await admin`update ledger_outbox.deliveries set
        claimed_until = claimed_until - interval '1 minute', next_attempt_at = next_attempt_at - interval '1 minute'
        where sent_at is null`;
      await emptied();
      return (await sentTwice()) - before;
    };
    const sendsTwice = async (fault: string, happens: () => Promise<unknown>) =>
      expect(await afterFault(happens), fault).toBeGreaterThan(0);

    await restartReceiver();
    await repair();
    await emptied();

    await sendsTwice("the receiver is killed after it has recorded a delivery, and before it answers", async () => {
      await killReconcilers();
      const atPush = toGateway.onNext(killReceiver);
      await repair();
      await atPush;
      await restartReceiver();
    });

    // The reconciler is killed between its commits and any request.
    await afterFault(async () => {
      await killReconcilers();
      const sweeps = nextSweeps();
      const killed = startReconciler(sweeps, { KILL_AFTER: String(last) });
      await killed.exited;
      expect(killed.child.signalCode).toBe("SIGKILL");
      expect(await waiting()).toBe(20);
      startReconciler();
    });

    await sendsTwice("the reconcilers are killed in mid-request, which the receiver records nevertheless", async () => {
      const requested = toReceiver.onNext(async (pass) => {
        await killReconcilers();
        await pass();
      });
      await Promise.all([repair().catch(() => {}), requested]);
      startReconciler();
    });

    // OUTBOX_KILLS=300 npx vitest run test/go takes 3 minutes. OUTBOX_OTHER names a reconciler of another version, built
    // from clients/go/test there, which takes turns with this one.
    toReceiver.losesAQuarter();
    await afterFault(async () => {
      for (let number = 0; number < kills; number += 1) {
        for (const program of [reconciler, process.env.OUTBOX_OTHER ?? reconciler]) {
          startReconciler(nextSweeps(), {}, program);
        }
        await sleep(Math.random() * 800);
        await killReconcilers();
      }
      startReconciler();
    });

    const [done] = await admin`select count(*)::int as sweeps, sum(orders)::int as orders, sum(orphans)::int as orphans,
      (
        select sum((event -> 'data' ->> 'duration_seconds')::numeric)::float8
        from ledger_outbox.deliveries cross join jsonb_array_elements(body::jsonb) as event
      ) as seconds
      from shop.repairs`;
    const { sweeps, orders, orphans, seconds } = done ?? {};
    say(`${orders + 2 * orphans + sweeps} events of ${sweeps} sweeps, 3 faults, ${2 * kills} kills`);
    expect(await scrape(stage)).toMatchObject({
      'veza_reconciler_actions_total{phase="stuck_orders"}': orders,
      'veza_reconciler_actions_total{phase="orphan_refunds"}': orphans,
      'veza_reconciler_actions_total{phase="stuck_refunds"}': 0,
      veza_reconciler_orphan_refunds_total: orphans,
      veza_reconciler_sweep_duration_seconds_count: sweeps,
      veza_reconciler_sweep_duration_seconds_sum: seconds,
    });
    expect(await outbox("true")).toHaveLength(sweeps);
    expect(await deliveries("true")).toHaveLength(sweeps);
  });
});

/** Without what begins their transaction. */
const onCallStatements = async () => (await blocksOf("clients/go/on-call.md", "sql")).slice(1);

async function kill({ child, exited }: Program): Promise<void> {
  child.kill("SIGKILL");
  await exited;
}

type Pass = () => Promise<void>;

/** A server in front of another server: passes requests on, and treats a request otherwise when it is told to. */
async function startFront(target: () => string) {
  let next: ((pass: Pass) => Promise<void>) | undefined;
  let lost = 0;
  const url = await httpServer(async (request, response) => {
    const action = next ?? ((pass: Pass) => pass());
    next = undefined;
    const { method = "", url = "" } = request;
    const headers = Object.entries(request.headers).filter(([name]) => /^(webhook-|content-type)/.test(name));
    const body = await buffer(request);
    await action(async () => {
      const sent = { method, headers: headers as [string, string][], ...(body.length > 0 && { body }) };
      const answer = await fetch(new URL(url, target()), sent).catch(() => undefined);
      if (answer && Math.random() >= lost) response.writeHead(answer.status).end(await answer.text());
    });
    if (!response.writableEnded) response.destroy(); // As when the process behind it has died.
  });
  return {
    url,
    /** From now on, a quarter of the answers do not arrive. */
    losesAQuarter: () => {
      lost = 0.25;
    },
    /** Resolves when the next request has been treated like this. */
    onNext: (action: (pass: Pass) => Promise<unknown>) =>
      new Promise<void>((resolve, reject) => {
        next = (pass) => action(pass).then(() => resolve(), reject);
      }),
  };
}
