import { mkdir, readFile, writeFile } from "node:fs/promises";
import type http from "node:http";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { runSqlFiles } from "../commands/sql.ts";
import { restartablePushgateway } from "./chaos/servers.ts";
import { createDatabase, lockTable, type TestDatabase } from "./helpers/database.ts";
import { scrape } from "./helpers/gateway.ts";
import { driverIsHere, goIsHere, makeGopath, run, testPackage, withModules } from "./helpers/go.ts";
import { type Program, runProgram, runScript } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";
import { httpServer } from "./helpers/servers.ts";

const say = (line: string) => process.stdout.write(`go-client: ${line}\n`);
if (!goIsHere) say("skipped, since Go is not installed (Debian: golang-go)");
else if (!driverIsHere)
  say("the outbox is skipped, since its driver is not installed (Debian: golang-github-lib-pq-dev)");

/** A first build compiles Go's own library as well. */
const timeout = 300_000;

describe.skipIf(!goIsHere)("the Go client", { timeout }, () => {
  it("is formatted as gofmt does it", async () => {
    expect(await run("gofmt", ["-l", "."], {})).toBe("");
  });

  it("passes go vet and its own tests, and depends on nothing", async () => {
    await run("go", ["vet", "./..."], withModules);
    expect(await run("go", ["test", "-count=1", "./..."], withModules)).toMatch(/^ok /);
    expect(await run("go", ["list", "-m", "all"], withModules)).toBe(
      "github.com/veza/veza-ledger-metrics/clients/go\n",
    );
  });
});

describe.skipIf(!goIsHere || !driverIsHere)("the Go outbox", { timeout }, () => {
  let gopath: Awaited<ReturnType<typeof makeGopath>>;
  let reconciler: string;
  beforeAll(async () => {
    gopath = await makeGopath();
    reconciler = path.join(gopath.folder, "reconciler");
    await run("go", ["build", "-o", reconciler, testPackage], gopath.environment, gopath.folder);
  }, timeout);
  afterAll(() => gopath?.remove());

  /** A database of its own, with the outbox beside the repairs. */
  async function createOutbox() {
    const database = await createDatabase();
    onTestFinished(() => database.admin.end());
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql", "clients/go/outbox.sql"]);
    return { ...database, goUrl: `${database.adminUrl}?sslmode=disable&application_name=reconciler` };
  }

  it("is taken away by its rollback, and comes again", async () => {
    const { admin, adminUrl } = await createOutbox();
    await runSqlFiles(adminUrl, ["clients/go/outbox.rollback.sql", "clients/go/outbox.rollback.sql"]);
    expect(await admin`select from pg_class where relname like 'ledger_metrics_outbox%'`).toHaveLength(0);
    await runSqlFiles(adminUrl, ["clients/go/outbox.sql"]);
    expect(await admin`select from ledger_metrics_outbox`).toHaveLength(0);
  });

  it("passes go vet and its tests on a real Postgres", async () => {
    const { goUrl } = await createOutbox();
    const environment = { ...gopath.environment, DATABASE_URL: goUrl };
    await run("go", ["vet", testPackage], environment, gopath.folder);
    expect(await run("go", ["test", "-count=1", testPackage], environment, gopath.folder)).toMatch(/^ok /);
  });

  it("compiles the examples of its README", async () => {
    const file = "clients/go/README.md";
    const examples = [...(await readFile(file, "utf8")).matchAll(/```go\n([\s\S]*?)```/g)].map(([, code = ""]) => code);
    expect(examples.length).toBeGreaterThan(0);
    const folder = path.join(gopath.folder, "src", path.dirname(file), "example");
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, "example.go"), examples.join("\n"));
    await run("go", ["vet", path.relative(path.join(gopath.folder, "src"), folder)], gopath.environment, gopath.folder);
  });

  it("counts each repair exactly once, whatever fails on the way", async () => {
    const stage = "go_client";
    const database = await createOutbox();
    const { admin } = database;
    await admin`create table repairs (sweep int primary key, orders int not null, orphans int not null)`;
    let secret = newSecret();
    const gateway = await restartablePushgateway();
    const gatewayUrl = `http://127.0.0.1:${gateway.port}`;
    const toGateway = await startFront(() => gatewayUrl);

    let receiver: Program;
    let receiverUrl: string;
    const startReceiver = async () => {
      receiver = runScript("test/programs/receiver.ts", [], {
        DATABASE_URL: database.receiverUrl,
        PUSHGATEWAY_URL: toGateway.url,
        WEBHOOK_SECRET: secret,
        STAGE: stage,
        SECRET_ID: undefined,
      });
      receiverUrl = await receiver.printed(/receiver (\S+)/);
    };
    const killReceiver = () => kill(receiver);
    const toReceiver = await startFront(() => receiverUrl);

    const reconcilers: Program[] = [];
    const startReconciler = (args: number[] = [], environment: Record<string, string> = {}) => {
      const program = runProgram(reconciler, args.map(String), {
        DATABASE_URL: database.goUrl,
        RECEIVER_URL: toReceiver.url,
        WEBHOOK_SECRET: secret,
        ...environment,
      });
      reconcilers.push(program);
      return program;
    };
    const killReconcilers = () => Promise.all(reconcilers.splice(0).map(kill));
    let last = 0;
    /** 40 more sweeps in a process of its own, which goes on draining beside the others. */
    const repair = async () => {
      const program = startReconciler([last + 1, last + 40]);
      last += 40;
      await program.printed(/repaired/);
    };
    const waiting = async (condition = "true") =>
      (await admin.unsafe(`select from ledger_metrics_outbox where parked_at is null and ${condition}`)).length;
    const emptied = () => expect.poll(() => waiting(), { timeout: 60_000 }).toBe(0);
    const sentAgain = async () => (await admin`select from ledger_metrics.deliveries where attempts > 1`).length;
    const faults: string[] = [];

    await startReceiver();
    await repair();
    await emptied();

    faults.push("the receiver is down for a while");
    await killReceiver();
    await repair();
    await expect.poll(() => waiting("last_error like '%not confirmed%'")).toBeGreaterThan(1);
    await startReceiver();
    await emptied();

    faults.push("the receiver is killed after it has recorded a delivery, and before it answers");
    const beforePush = await sentAgain();
    const atPush = toGateway.onNext(killReceiver);
    await repair();
    await atPush;
    await startReceiver();
    await emptied();
    expect(await sentAgain()).toBeGreaterThan(beforePush);

    faults.push("the receiver is killed while it waits for Postgres");
    const unlock = await lockTable(database, "ledger_metrics.deliveries");
    const whileWaiting = toReceiver.onNext(async (pass) => {
      const passed = pass();
      await waitsForLock(database, passed);
      await killReceiver();
      await passed;
    });
    await repair();
    await whileWaiting;
    await unlock();
    await startReceiver();
    await emptied();

    faults.push("the gateway is down, and loses what it had");
    await gateway.kill();
    await repair();
    await emptied();
    await gateway.start();

    faults.push("the reconciler is killed between its commits and any request");
    await killReconcilers();
    const killed = startReconciler([last + 1, last + 40], { KILL_AFTER: String(last + 40) });
    last += 40;
    await killed.exited;
    expect(killed.child.signalCode).toBe("SIGKILL");
    expect(await waiting()).toBe(40);
    startReconciler();
    await emptied();

    faults.push("the reconcilers are killed in mid-request, which the receiver records nevertheless");
    const beforeKill = await sentAgain();
    const inRequest = toReceiver.onNext(async (pass) => {
      await killReconcilers();
      await pass();
    });
    await Promise.all([repair().catch(() => {}), inRequest]);
    startReconciler();
    await emptied();
    expect(await sentAgain()).toBeGreaterThan(beforeKill);

    faults.push("a reconciler's session in Postgres ends in mid-request");
    const beforeEnd = await sentAgain();
    const sessionEnds = toReceiver.onNext(async (pass) => {
      await admin`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'reconciler' and datname = current_database() and state = 'idle in transaction'`;
      await pass();
    });
    startReconciler();
    await repair();
    await sessionEnds;
    await emptied();
    expect(await sentAgain()).toBeGreaterThan(beforeEnd);

    faults.push("the secret is replaced, and the reconcilers are not told");
    await killReceiver();
    await repair();
    secret = newSecret();
    await startReceiver();
    await expect.poll(() => waiting("last_error like '%rejected with 401: webhook-signature: %'")).toBeGreaterThan(0);
    await killReconcilers();
    startReconciler();
    await emptied();

    faults.push("sweeps 1 to 40 are enqueued once more, and their bodies built anew");
    await startReconciler([1, 40], { REBUILD: "1" }).printed(/repaired/);
    await emptied();

    faults.push("a delivery that is wrong for ever");
    await admin`insert into ledger_metrics_outbox (id, body) values ('wrong', '[{"type":"reconciler.action"}]')`;
    await emptied();

    const [done] = await admin<Record<string, number>[]>`select count(*)::int as sweeps, sum(orders)::int as orders,
      sum(orphans)::int as orphans, sum(sweep % 9)::int / 4.0::float8 as seconds from repairs`;
    const { sweeps = 0, orders = 0, orphans = 0, seconds = 0 } = done ?? {};
    const due: Record<string, number> = {
      'veza_reconciler_actions_total{phase="stuck_orders"}': orders,
      'veza_reconciler_actions_total{phase="orphan_refunds"}': orphans,
      'veza_reconciler_actions_total{phase="stuck_refunds"}': 0,
      veza_reconciler_orphan_refunds_total: orphans,
      veza_reconciler_sweep_duration_seconds_count: sweeps,
      veza_reconciler_sweep_duration_seconds_sum: seconds,
    };
    const counted = await scrape(stage, gatewayUrl);
    const sent = await admin`select id from ledger_metrics.deliveries`;
    expect(sent.length).toBe(sweeps);
    const surplus = Object.entries(due).map(([series, value]) => (counted[series] ?? 0) - value);
    const figures = {
      lost: surplus.reduce((sum, difference) => sum + Math.max(0, -difference), 0),
      twice: surplus.reduce((sum, difference) => sum + Math.max(0, difference), 0),
    };
    const events = orders + 2 * orphans + sweeps;
    say(`${events} events of ${sweeps} sweeps, ${faults.length} faults, ${figures.lost} lost, ${figures.twice} twice`);
    expect(figures).toEqual({ lost: 0, twice: 0 });
    expect(counted).toMatchObject(due);

    const logged = (text: string) => reconcilers.flatMap(({ output }) => output().match(new RegExp(text, "g")) ?? []);
    await expect.poll(() => logged("counted before with another body").length).toBeGreaterThanOrEqual(40);
    await expect.poll(() => logged("delivery parked").length).toBe(1);
    const parked = await admin`select id, attempts, last_error from ledger_metrics_outbox where parked_at is not null`;
    expect(parked).toEqual([
      { id: "wrong", attempts: 1, last_error: "delivery wrong rejected with 400: [0].timestamp: is missing" },
    ]);
  });
});

async function kill({ child, exited }: Program): Promise<void> {
  child.kill("SIGKILL");
  await exited;
}

type Pass = () => Promise<void>;

/** A server in front of another one: passes requests on, and does something else to one of them when it is told. */
async function startFront(target: () => string) {
  let next: ((pass: Pass) => Promise<void>) | undefined;
  const url = await httpServer(async (request, response) => {
    const action = next ?? ((pass: Pass) => pass());
    next = undefined;
    const body = await buffer(request);
    await action(() => passOn(request, body, response, target()));
    if (!response.writableEnded) response.destroy(); // As when the process behind it has died.
  });
  return {
    url,
    /** Resolves when the next request has been treated like this. */
    onNext: (action: (pass: Pass) => Promise<unknown>) =>
      new Promise<void>((resolve, reject) => {
        next = (pass) => action(pass).then(() => resolve(), reject);
      }),
  };
}

/** Answers as the target does, or not at all. */
async function passOn(request: http.IncomingMessage, body: Buffer, response: http.ServerResponse, target: string) {
  const { method = "", url = "", headers } = request;
  const kept = Object.entries(headers).filter(([name]) => /^(webhook-|content-type)/.test(name));
  try {
    const answer = await fetch(new URL(url, target), { method, headers: kept as [string, string][], body });
    const text = await answer.text();
    const retryAfter = answer.headers.get("retry-after");
    response.writeHead(answer.status, retryAfter ? { "retry-after": retryAfter } : {}).end(text);
  } catch {
    // Nobody is there, or not any more.
  }
}

/** Resolves when the receiver's session in Postgres waits for a lock, or has given up. */
async function waitsForLock({ admin }: TestDatabase, answered: Promise<void>): Promise<void> {
  let isOver = false;
  answered.then(() => {
    isOver = true;
  });
  const session = () => admin`select from pg_stat_activity where application_name = 'veza-ledger-receiver'
    and datname = current_database() and wait_event_type = 'Lock'`;
  while (!isOver && (await session()).length === 0) await sleep(5);
}
