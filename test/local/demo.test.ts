// npm run demo: what each demo shows next to npm start, and that it touches nothing else.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { createDatabase } from "../helpers/database.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { projectFolder, runProgram, runScript } from "../helpers/processes.ts";
import { newSecret } from "../helpers/receiver.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";

/** Runs `npm run demo`, and checks that nothing of it is wider than a terminal. */
async function demo(receiverUrl: string | undefined, ...args: string[]) {
  const program = runScript("local/demo.ts", args, { ...withoutSettings, RECEIVER_URL: receiverUrl });
  await program.exited;
  const lines = program.output().trimEnd().split("\n");
  return { exitCode: program.child.exitCode, lines };
}

const six = ["break-refunds", "lock-orders", "send-twice", "wipe-gateway", "kill-postgres", "outage"];

it("lists what there is to see, without a stack", async () => {
  const program = runProgram("npm", ["run", "--silent", "demo"], withoutSettings);
  await program.exited;
  expect(program.child.exitCode).toBe(0);
  const lines = program.output().split("\n");
  expect(lines.flatMap((line) => /^ {2}([a-z-]+) {2,}\w/.exec(line)?.[1] ?? [])).toEqual(six);
  expect(lines.filter((line) => line.length > 80)).toEqual([]);
});

it.each([[["dance"]], [["outage", "now"]]])("says how it is used when called with %j", async (args) => {
  const { exitCode, lines } = await demo(undefined, ...args);
  expect([exitCode, lines[0]]).toEqual([2, "usage: npm run demo -- <what>, beside npm start in another terminal"]);
});

describe("beside a running stack", () => {
  let stack: ChildProcess;
  let output = "";
  let url: string;
  let gateway: string;
  let sql: postgres.Sql;

  // Shared by the tests, so that they take no more than a minute.
  beforeAll(async () => {
    stack = spawn(process.execPath, ["local/start.ts", "--every", "1"], {
      cwd: projectFolder,
      env: { ...process.env, ...withoutSettings },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const append = (chunk: Buffer) => {
      output += chunk;
    };
    stack.stdout?.on("data", append);
    stack.stderr?.on("data", append);
    await vi.waitFor(() => expect(output).toMatch(/"message":"tick"/), { timeout: 60_000, interval: 100 });
    const printed = (name: string) => new RegExp(`^${name} +(\\S+)`, "m").exec(output)?.[1] ?? "";
    [url, gateway] = [printed("Page"), printed("Pushgateway")];
    sql = postgres(printed("Postgres"), { max: 1, onnotice: () => {} });
  });
  afterAll(async () => {
    await sql?.end();
    const ended = once(stack, "close");
    stack.kill("SIGINT");
    await ended;
  });

  /** Plays it, and checks the shape of what it says: three lines of a promise, then what was seen. */
  async function play(name: string): Promise<string[]> {
    const { exitCode, lines } = await demo(url, name);
    expect([exitCode, lines.filter((line) => line.length > 80)], lines.join("\n")).toEqual([0, []]);
    expect(lines.slice(0, 3).map((line) => line.split(/ {2,}/)[0])).toEqual(["Happens", "Look", "Proves"]);
    return lines
      .slice(3)
      .join("\n")
      .replaceAll(/\n {9}/g, " ")
      .split("\n"); // Long lines are folded.
  }

  const count = "\\d+";
  const counts = (...[orders, refunds, orphan]: string[]) =>
    expect.stringMatching(
      new RegExp(`^Seen {5}orders ${orders}, refunds ${refunds}, transfers 1, orphan ${orphan}, reversals 0\\b`),
    );

  it("break-refunds: two counts are unknown and three are right; again: all are", async () => {
    expect(await play("break-refunds")).toEqual([counts(count, "\\?", "\\?"), "Run it again to repair it."]);
    expect(await (await fetch(`${gateway}/metrics`)).text()).toMatch(/\nveza_ledger_orphan_refund_rows\{.*\} -1\n/);
    expect(await play("break-refunds")).toEqual([counts(count, count, count)]);
  });

  it("lock-orders: one count is unknown while the table is locked, and no longer", async () => {
    expect(await play("lock-orders")).toEqual([counts("\\?", count, count), counts(count, count, count)]);
    expect(
      await sql`select from pg_locks where mode = 'AccessExclusiveLock' and relation = 'orders'::regclass`,
    ).toEqual([]);
  });

  it("lock-orders: a Ctrl-C ends the lock too", async () => {
    const program = runScript("local/demo.ts", ["lock-orders"], { ...withoutSettings, RECEIVER_URL: url });
    const locks = () => sql`select from pg_locks where mode = 'AccessExclusiveLock' and relation = 'orders'::regclass`;
    await expect.poll(locks, { interval: 20 }).toHaveLength(1);
    program.child.kill("SIGINT");
    await program.exited;
    await expect.poll(locks).toEqual([]);
  });

  it("send-twice: the delivery counts once", async () => {
    expect(await play("send-twice")).toEqual([
      "Seen     recorded, then duplicate; repaired orphan_refunds: 0 before, 1 now",
    ]);
    const [delivery] = await sql`select attempts from ledger_metrics.deliveries where id like 'demo\\_________'`;
    expect(delivery?.attempts).toBe(2);
  });

  it("wipe-gateway: both groups are gone, and come back with what they had", async () => {
    const [seen = ""] = await play("wipe-gateway");
    const [, before, after] =
      /^Seen {5}filled again after \d+ s\. Repaired rows: (\d+) before, (\d+) now(?: \(sweeps go on\))?$/.exec(seen) ??
      [];
    expect(Number(before)).toBeGreaterThanOrEqual(50); // Of the hour before.
    expect(Number(after)).toBeGreaterThanOrEqual(Number(before));
    expect(Number(after) - Number(before)).toBeLessThan(5);
    const deleted = /^pushgateway_http_requests_total\{code="202",handler="delete",method="delete"\} 2$/m;
    expect(await (await fetch(`${gateway}/metrics`)).text()).toMatch(deleted);
  });

  it("kill-postgres: all counts are unknown, then known; no total is lost", async () => {
    const [unknown, known, totals = ""] = await play("kill-postgres");
    expect(unknown).toMatch(/^Seen {5}orders \?, refunds \?, transfers \?, orphan \?, reversals \?.*; then:$/);
    expect(known).toEqual(counts(count, count, count));
    const [, before, after] = /^Seen {5}repaired rows: (\d+) before, (\d+) now$/.exec(totals) ?? [];
    expect(Number(after)).toBeGreaterThanOrEqual(Number(before));
    expect(Number(before)).toBeGreaterThanOrEqual(50);
    const told = () => /PostgreSQL has ended, and starts again in 6 s[\s\S]*PostgreSQL runs again/.test(output);
    await expect.poll(told).toBe(true);
  });

  it("outage: deliveries wait in the outbox, and all are counted", async () => {
    const playing = play("outage");
    await expect
      .poll(() =>
        fetch(url, { method: "POST", body: "[]" }).then(
          ({ status }) => status,
          () => "hung up",
        ),
      )
      .toBe("hung up");
    expect((await fetch(url)).status).toBe(200); // The page stays.
    const [waiting = "", counted = ""] = await playing;
    const [, some] = /^Seen {5}([1-9]) deliveries wait in the outbox; then:$/.exec(waiting) ?? [];
    expect(counted).toBe(`Seen     ${some} of ${some} are counted`);
    expect(/"message":"\d in the outbox","reason":"other side closed"/.test(output)).toBe(true);
    const lost =
      await sql`select id from ledger_metrics_outbox where sent_at is null and created_at < now() - interval '5 s'`;
    expect(lost).toEqual([]);
  });
});

describe("touches nothing else:", () => {
  it("no stack answers", async () => {
    const url = `http://127.0.0.1:${closedPort}/`;
    const { exitCode, lines } = await demo(url, "outage");
    expect(exitCode).toBe(1);
    expect(lines).toEqual([
      expect.stringMatching(`^No stack answers at ${url}: .*\\.$`),
      "Run npm start in another terminal; where it prints another address,",
      "set RECEIVER_URL to that.",
    ]);
  });

  it("RECEIVER_URL names a receiver elsewhere", async () => {
    const { exitCode, lines } = await demo("https://receiver.example/", "kill-postgres");
    expect([exitCode, lines[0]]).toEqual([1, expect.stringMatching(/^RECEIVER_URL names a receiver elsewhere/)]);
  });

  it("the stack runs on a ledger of the user's own", async () => {
    const database = await createDatabase();
    const stack = runScript("local/start.ts", ["--every", "1"], {
      ...withoutSettings,
      DATABASE_URL: database.samplerUrl,
      PUSHGATEWAY_URL: inject("pushgatewayUrl"),
      WEBHOOK_SECRET: newSecret(),
      STAGE: "demo_own_ledger",
    });
    const url = await stack.printed(/^Page +(\S+)/m);
    for (const name of six) {
      const { exitCode, lines } = await demo(url, name);
      expect([exitCode, lines], name).toEqual([1, [expect.stringMatching(/^npm start runs on a ledger of your own/)]]);
    }
    expect((await fetch(`${url}outage`, { method: "PUT" })).status).toBe(405);
    expect((await fetch(url, { method: "POST", body: "[]" })).status).toBe(401);
    expect(await database.admin`select hyperswitch_refund_id from refunds`).toEqual([]);
    await database.remove();
  });

  it("what answers names a PostgreSQL that is no demo's", async () => {
    const { port } = new URL(inject("adminUrl"));
    const stack = {
      checks: [],
      everySeconds: 1,
      stage: "",
      deliveries: [],
      links: {},
      demo: { postgresPort: Number(port) },
    };
    const url = await httpServer((_, response) => response.end(JSON.stringify(stack)));
    for (const name of ["kill-postgres", "break-refunds", "lock-orders"]) {
      const { exitCode, lines } = await demo(`${url}/`, name);
      expect([exitCode, lines], name).toEqual([1, [`The PostgreSQL at port ${port} is no demo of npm start.`]]);
    }
  });

  it("what answers names a Pushgateway elsewhere", async () => {
    const demoStack = runScript("local/start.ts", ["--every", "1"], {
      ...withoutSettings,
      PUSHGATEWAY_URL: inject("pushgatewayUrl"),
      STAGE: "demo_own_gateway",
    });
    const url = await demoStack.printed(/^Page +(\S+)/m);
    const { exitCode, lines } = await demo(url, "wipe-gateway");
    expect([exitCode, lines]).toEqual([1, [expect.stringMatching(/^npm start pushes to a gateway of your own/)]]);
  });
});
