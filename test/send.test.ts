import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { createDatabase } from "./helpers/database.ts";
import { runScript } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";
import { closedPort, httpServer } from "./helpers/servers.ts";

const secret = newSecret();

async function send(receiverUrl: string | undefined, ...args: string[]) {
  const program = runScript("commands/send.ts", args, { RECEIVER_URL: receiverUrl, WEBHOOK_SECRET: secret });
  await program.exited;
  return { exitCode: program.child.exitCode, output: program.output() };
}

/** The real receiver, in a process of its own, on a Postgres that is there. */
async function startReceiver(gatewayUrl = inject("pushgatewayUrl")) {
  const database = await createDatabase();
  onTestFinished(() => database.admin.end());
  const receiver = runScript("test/programs/receiver.ts", [], {
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: gatewayUrl,
    WEBHOOK_SECRET: secret,
    STAGE: "send",
  });
  return { url: await receiver.printed(/http:\S+/), sql: database.admin };
}

async function fileWith(text: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-send-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(path.join(folder, "events.json"), text);
  return path.join(folder, "events.json");
}

it.each([
  [[], "nothing to send"],
  [["dance"], "not understood: dance"],
  [["action"], "not understood: action"],
  [["sweep"], "not understood: sweep"],
  [["sweep", "long"], "not understood: sweep long"],
  [["ping", "--file", "events.json"], "either --file or an event"],
  [["--file", "/nowhere/events.json"], "ENOENT: no such file or directory, open '/nowhere/events.json'"],
  [["ping", "--twice"], "Unknown option '--twice'"],
])("says how it is used when called with %j", async (args, problem) => {
  const { exitCode, output } = await send(undefined, ...args);
  expect(exitCode).toBe(2);
  expect(output.split("\n")[0]).toContain(problem);
  const [, usage = ""] = output.split(/\n\n(?=usage: npm run send -- <what> \[--id <id>\] \[--retry\]\n)/);
  expect(usage).not.toBe("");
  expect(usage.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

describe("with a receiver", () => {
  it("tries everything and changes no number with ping", async () => {
    const { url, sql } = await startReceiver();
    expect(await send(url, "ping")).toEqual({
      exitCode: 0,
      output: expect.stringMatching(/^Recorded\. It is on the gateway\. \(id msg_\S+\)\n$/),
    });
    expect(await sql`select 1 from ledger_metrics.deliveries`).toHaveLength(1);
    const [row] = await sql`select sum(value)::int as sum from ledger_metrics.totals`;
    expect(row?.sum ?? 0).toBe(0);
  });

  it("sends a file as it is, and counts it once under its id", async () => {
    const { url, sql } = await startReceiver();
    const timestamp = new Date().toISOString();
    const file = await fileWith(` [{"type":"reconciler.orphan_refund", "timestamp":"${timestamp}"}]\n`);
    const counted = async () => (await sql`select value::int from ledger_metrics.totals`).map(({ value }) => value);
    expect(await send(url, "--file", file, "--id", "lost_1")).toEqual({
      exitCode: 0,
      output: "Recorded. It is on the gateway. (id lost_1)\n",
    });
    expect(await send(url, "--file", file, "--id", "lost_1")).toEqual({
      exitCode: 0,
      output: "Recorded before, and counts once. It is on the gateway. (id lost_1)\n",
    });
    expect(await counted()).toEqual([1]);
    const other = await fileWith(`[{"type":"reconciler.orphan_refund","timestamp":"${timestamp}"}]`);
    expect(await send(url, "--file", other, "--id", "lost_1")).toEqual({
      exitCode: 0,
      output: "Recorded before, with another body: that one is counted, and this one is not. (id lost_1)\n",
    });
    expect(await counted()).toEqual([1]);
  });

  it("says which field is wrong", async () => {
    const { url } = await startReceiver();
    expect(await send(url, "action", "refunds")).toEqual({
      exitCode: 1,
      output: 'Refused: 400 {"error":"data.phase: must be one of stuck_orders, stuck_refunds, orphan_refunds"}\n',
    });
  });

  it("says that the gateway is to follow", async () => {
    const { url } = await startReceiver(`http://127.0.0.1:${closedPort}`);
    expect(await send(url, "ping", "--id", "ping_1")).toEqual({
      exitCode: 0,
      output: "Recorded. Another call or the next tick publishes it. (id ping_1)\n",
    });
  });
});

it("says why there is no answer, and how to send it again", async () => {
  const url = `http://127.0.0.1:${closedPort}/`;
  const { exitCode, output } = await send(url, "ping", "--id", "ping_1");
  expect(exitCode).toBe(1);
  expect(output).toMatch(/^No answer from http:\/\/127\.0\.0\.1:4\/: .*ECONNREFUSED/);
  expect(output).toMatch(
    /\nSend it again with the same body and --id ping_1, or with --retry: it is counted once\.\n$/,
  );
});

it("sends again, with the same id and body, until it is confirmed", async () => {
  const requests: { id: unknown; body: string }[] = [];
  const url = await httpServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    requests.push({ id: request.headers["webhook-id"], body });
    if (requests.length === 1) response.writeHead(503).end('{"error":"not confirmed"}');
    else response.end('{"status":"duplicate","published":true}');
  });
  expect(await send(url, "orphan_refund", "--id", "lost_2", "--retry")).toEqual({
    exitCode: 0,
    output: [
      'Not confirmed: 503 {"error":"not confirmed"}',
      "Again in 5 s, with the same id.",
      "Recorded before, and counts once. It is on the gateway. (id lost_2)",
      "",
    ].join("\n"),
  });
  expect(requests).toEqual([requests[0], requests[0]]);
  expect(requests[0]).toMatchObject({ id: "lost_2", body: expect.stringContaining("reconciler.orphan_refund") });
});
