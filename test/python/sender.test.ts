// The sender in Python (docs/outbox.md), with the real receiver and a real outbox.
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { databaseForTest } from "../helpers/database.ts";
import { scrape } from "../helpers/gateway.ts";
import { skippedBecause } from "../helpers/needs.ts";
import { runProgram } from "../helpers/processes.ts";
import { newSecret, post, startReceiver } from "../helpers/receiver.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";

/** An interpreter with psycopg: Debian's is not always the first on the PATH. */
const python = ["python3", "/usr/bin/python3"].find((name) => {
  try {
    return execFileSync(name, ["-c", "import psycopg; psycopg.RawCursor"], { stdio: "ignore" }) === null;
  } catch {
    return false;
  }
});
const withPython = skippedBecause(!python && "not here: python3 with Debian's python3-psycopg");

const action = (phase: string) => ({ type: "reconciler.action", timestamp: "2026-01-31T12:00:00Z", data: { phase } });

describe("the sender in Python", withPython, () => {
  /** An outbox, and a sender that runs until it is ended. */
  async function createOutbox() {
    const database = await databaseForTest();
    const { admin, adminUrl } = database;
    await runSqlFiles(adminUrl, ["clients/go/outbox.sql"]);
    const [, enqueue = ""] = /-- Enqueue.*\n([^;]+);/.exec(await readFile("docs/outbox.md", "utf8")) ?? [];
    const secret = newSecret();
    return {
      ...database,
      secret,
      enqueue: async (id: string, ...phases: string[]) => {
        const body = JSON.stringify(phases.map(action));
        return (await admin.unsafe(enqueue, [id, body, phases.sort().join()]))[0]?.count;
      },
      outbox: (condition: string, columns = "id") =>
        admin.unsafe(`select ${columns} from ledger_metrics_outbox where ${condition} order by seq`),
      start: (url: string) =>
        runProgram(python ?? "", ["clients/python/sender.py"], {
          DATABASE_URL: `${adminUrl}?application_name=sender`,
          RECEIVER_URL: url,
          WEBHOOK_SECRET: secret,
          PYTHONDONTWRITEBYTECODE: "1",
        }),
      receive: (stage: string) =>
        startReceiver({ DATABASE_URL: database.receiverUrl, WEBHOOK_SECRET: secret, STAGE: stage }),
    };
  }
  const waiting = "sent_at is null and parked_at is null";

  it("counts each delivery once, however often it is killed", async () => {
    const { admin, enqueue, outbox, start, receive } = await createOutbox();
    const { url } = await receive("python");
    for (let n = 0; n < 60; n += 1) expect(await enqueue(`order-${n}`, "stuck_orders")).toBe("1");
    expect(await enqueue("order-1", "stuck_orders")).toBe("0");
    for (let sent = 0; sent < 60; ) {
      const { child, exited } = start(url);
      const before = sent;
      const count = async () => {
        sent = (await admin`select from ledger_metrics.deliveries where id <> 'outbox-ping'`).length;
        return sent;
      };
      await expect.poll(count).toBeGreaterThanOrEqual(Math.min(before + 10, 60));
      child.kill("SIGKILL");
      await exited;
      // As if a minute had passed.
      await admin`update ledger_metrics_outbox set claimed_until = claimed_until - interval '1 minute'`;
    }
    start(url);
    await expect.poll(() => outbox(waiting)).toEqual([]);
    expect(await scrape("python")).toMatchObject({ 'veza_reconciler_actions_total{phase="stuck_orders"}': 60 });
  });

  it("parks what is refused, and delays what fails alone", async () => {
    const { admin, secret, enqueue, outbox, start, receive } = await createOutbox();
    const { url } = await receive("python_parks");
    expect((await post(url, secret, JSON.stringify([action("stuck_refunds")]), { id: "taken" })).status).toBe(200);
    await enqueue("taken", "stuck_orders");
    expect((await post(url, secret, JSON.stringify([action("orphan_refunds")]))).status).toBe(200);
    // Somebody takes back a wrong event, and leaves psql open.
    const psql = await admin.reserve();
    await psql`begin`;
    await psql`update ledger_metrics.totals set ahead = ahead + 1 where labels = '{"phase": "orphan_refunds"}'`;
    await enqueue("locked", "orphan_refunds");
    await enqueue("good", "stuck_refunds");
    const sender = start(url);
    await expect.poll(() => outbox("sent_at is not null")).toEqual([{ id: "good" }]);
    expect(await outbox("parked_at is not null", "id, attempts, last_error")).toEqual([
      { id: "taken", attempts: 1, last_error: expect.stringMatching(/^409 .*was recorded for other events/) },
    ]);
    expect(await outbox(waiting, "id, last_error, next_attempt_at > now() as waits")).toEqual([
      { id: "locked", last_error: expect.stringMatching(/^503 /), waits: expect.any(Boolean) },
    ]);
    await psql`rollback`;
    psql.release();
    await expect.poll(() => outbox("sent_at is not null")).toHaveLength(2);
    sender.child.kill("SIGTERM");
    await sender.exited;
    expect(sender.child.exitCode).toBe(0);
  });

  it("asks once in five seconds while the receiver is away, and gives back what it has claimed", async () => {
    const { enqueue, outbox, start } = await createOutbox();
    for (let n = 0; n < 20; n += 1) await enqueue(`order-${n}`, "stuck_orders");
    const asked: (string | undefined)[] = [];
    const url = await httpServer((request, response) => {
      asked.push(String(request.headers["webhook-id"]));
      response.writeHead(503).end("away");
    });
    const sender = start(url);
    await expect.poll(() => asked, { timeout: 60_000 }).toHaveLength(4);
    expect(asked).toEqual(["order-0", "outbox-ping", "outbox-ping", "outbox-ping"]);
    sender.child.kill("SIGTERM");
    await sender.exited;
    expect(await outbox("claimed_until is not null")).toEqual([]);
    expect(await outbox("attempts > 0", "id, last_error")).toEqual([{ id: "order-0", last_error: "503 away" }]);
  });

  it.each<[string, answer: [status: number, body: string] | undefined, reason: string]>([
    ["no answer", undefined, "%Connection refused%"],
    ["a 200 that is not the receiver's", [200, "<html>"], "200 <html>"],
    ["a 401, whatever is in it", [401, '{"error":"no","stage":null}'], "401 %"],
  ])("keeps a delivery after %s, and writes down why", async (_, answer, reason) => {
    const { enqueue, outbox, start } = await createOutbox();
    await enqueue("order", "stuck_orders");
    const url = answer && (await httpServer((_, response) => response.writeHead(answer[0]).end(answer[1])));
    start(url ?? `http://127.0.0.1:${closedPort}/`);
    await expect.poll(() => outbox(`${waiting} and last_error like '${reason}'`)).toHaveLength(1);
  });
});
