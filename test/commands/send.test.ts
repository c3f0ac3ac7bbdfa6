import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { run } from "../../commands/send.ts";
import { inProcess } from "../helpers/commands.ts";
import { createDatabase } from "../helpers/database.ts";
import { runProgram, runScript } from "../helpers/processes.ts";
import { newSecret } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";

const secret = newSecret();

const send = (receiverUrl: string | undefined, ...args: string[]) => sendWith({ RECEIVER_URL: receiverUrl }, args);

const sendWith = (environment: Record<string, string | undefined>, args: string[]) =>
  inProcess(run, args, { WEBHOOK_SECRET: secret, SECRET_ID: undefined, ...environment });

/** Starts the program, with this text on its standard input. */
async function pipe(receiverUrl: string, args: string[], input: string) {
  const settings = { RECEIVER_URL: receiverUrl, WEBHOOK_SECRET: secret, SECRET_ID: undefined };
  const program = runProgram(process.execPath, ["commands/send.ts", ...args], settings, "pipe");
  program.child.stdin?.end(input);
  await program.exited;
  return { exitCode: program.child.exitCode, output: program.output().trim() };
}

/** The real receiver, in a process of its own, on a Postgres that is there. */
async function startReceiver(gatewayUrl = inject("pushgatewayUrl")) {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
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
  [
    "a malformed secret",
    { WEBHOOK_SECRET: "whsec_short" },
    "WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64",
  ],
  [
    "a secret in quotes",
    { WEBHOOK_SECRET: `"${secret}"` },
    "WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64",
  ],
  ["nothing but spaces", { WEBHOOK_SECRET: "  " }, "WEBHOOK_SECRET is missing"],
  [
    "a URL without a scheme",
    { RECEIVER_URL: "x.lambda-url.eu-central-1.on.aws" },
    "RECEIVER_URL must begin with https://",
  ],
  ["a host and a port", { RECEIVER_URL: "localhost:8080" }, "RECEIVER_URL must begin with https://"],
  [
    "a URL with a password",
    { RECEIVER_URL: "https://u:secret@example.com" },
    "RECEIVER_URL must not have a user or a password",
  ],
  ["a secret's id, and no URL", { SECRET_ID: "receiver" }, "RECEIVER_URL is missing"],
])("names the mistake in %s, shows no value, and sends nothing", async (_, environment, problem) => {
  const { exitCode, output } = await sendWith({ RECEIVER_URL: undefined, ...environment }, ["ping"]);
  expect(exitCode).toBe(2);
  expect(output).toContain(problem);
  expect(output).not.toMatch(/short|secret@|usage/);
  expect(output).not.toContain(secret);
});

describe("with --dry-run, sends nothing, and", () => {
  const dry = (...args: string[]) => send(`http://127.0.0.1:${closedPort}/`, "--dry-run", "--id", "dry_1", ...args);

  it("says where it would post how many events", async () => {
    const text = `Nothing was sent. It would post 1 event to http://127.0.0.1:${closedPort}/ (id dry_1)`;
    expect(await dry("action", "stuck_orders")).toEqual({ exitCode: 0, output: text });
    expect(await dry("ping")).toEqual({ exitCode: 0, output: text.replace("1 event", "0 events") });
  });

  it("says what would be refused", async () => {
    const text =
      "Nothing was sent. It would be refused: data.phase: must be one of stuck_orders, stuck_refunds, orphan_refunds";
    expect(await dry("action", "refunds")).toEqual({ exitCode: 1, output: text });
  });
});

describe("with a receiver", () => {
  it("tries everything and changes no number with ping", async () => {
    const { url, sql } = await startReceiver();
    expect(await send(url, "ping")).toEqual({
      exitCode: 0,
      output: expect.stringMatching(/^Recorded\. It is on the gateway\. \(id msg_\S+, stage send\)$/),
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
      output: "Recorded. It is on the gateway. (id lost_1, stage send)",
    });
    const duplicate = {
      exitCode: 0,
      output: "Duplicate, counted once. It is on the gateway. (id lost_1, stage send)",
    };
    expect(await send(url, "--file", file, "--id", "lost_1")).toEqual(duplicate);
    const anew = `{"timestamp": "${timestamp}", "type": "reconciler.orphan_refund"}`;
    for (const args of [["-"], ["--file", "-"]]) {
      expect(await pipe(url, [...args, "--id", "lost_1"], anew)).toEqual(duplicate);
    }
    expect(await counted()).toEqual([1]);
    const { exitCode, output } = await send(url, "action", "stuck_orders", "--id", "lost_1");
    expect(exitCode).toBe(1);
    expect(output).toMatch(
      /^Refused: 409 {"error":"webhook-id: was recorded for other events: counted under this id: /,
    );
    expect(output).toContain("\nIts events are not counted. Send them under another id.");
    expect(await counted()).toEqual([1]);
  });

  it("counts a demo that is sent twice once, although its time is another", async () => {
    const { url } = await startReceiver();
    const demo = () => send(url, "action", "stuck_orders", "--id", "demo1");
    expect((await demo()).output).toMatch(/^Recorded\. /);
    expect(await demo()).toEqual({
      exitCode: 0,
      output: "Duplicate, counted once. It is on the gateway. (id demo1, stage send)",
    });
  });

  it("takes the secret from Secrets Manager, and leaves out white space around it, which it mentions", async () => {
    const { url } = await startReceiver();
    await fakeSecretsManager({ receiver: { WEBHOOK_SECRET: `${secret} ${newSecret()}` } });
    const from = (environment: object) => sendWith({ RECEIVER_URL: url, ...environment }, ["ping", "--id", "ping_1"]);
    expect(await from({ SECRET_ID: "receiver", WEBHOOK_SECRET: undefined })).toMatchObject({ exitCode: 0 });
    expect(await from({ SECRET_ID: "not-there", WEBHOOK_SECRET: undefined })).toEqual({
      exitCode: 2,
      output: expect.stringContaining("SECRET_ID: not-there could not be read: ResourceNotFoundException"),
    });
    expect(await from({ WEBHOOK_SECRET: ` ${secret}\n` })).toEqual({
      exitCode: 0,
      output: expect.stringMatching(
        /^WEBHOOK_SECRET has a space or a newline around it\. .+\nDuplicate, counted once\./,
      ),
    });
  });

  it("says which field is wrong", async () => {
    const { url } = await startReceiver();
    expect(await send(url, "action", "refunds")).toEqual({
      exitCode: 1,
      output:
        'Refused: 400 {"error":"data.phase: must be one of stuck_orders, stuck_refunds, orphan_refunds",' +
        '"stage":"send"}',
    });
  });

  it("says that the gateway is to follow", async () => {
    const { url } = await startReceiver(`http://127.0.0.1:${closedPort}`);
    expect(await send(url, "ping", "--id", "ping_1")).toEqual({
      exitCode: 0,
      output: "Recorded. Another call or the next tick publishes it. (id ping_1, stage send)",
    });
  });
});

it("says why there is no answer, and how to send it again", async () => {
  const url = `http://127.0.0.1:${closedPort}/`;
  const { exitCode, output } = await send(url, "ping", "--id", "ping_1");
  expect(exitCode).toBe(3);
  expect(output).toMatch(/^No answer from http:\/\/127\.0\.0\.1:4\/: .*ECONNREFUSED/);
  expect(output).toMatch(
    /\nSend it again with the same events and --id ping_1, or with --retry: it is counted once\.$/,
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
      "Duplicate, counted once. It is on the gateway. (id lost_2)",
    ].join("\n"),
  });
  expect(requests).toEqual([requests[0], requests[0]]);
  expect(requests[0]).toMatchObject({ id: "lost_2", body: expect.stringContaining("reconciler.orphan_refund") });
});

it.each([
  [200, "<html>", "Not confirmed: 200 <html>", 3],
  [429, "{}", "Not confirmed: 429 {}", 3],
  [401, '{"error":"no"}', 'Refused: 401 {"error":"no"}', 1],
  [404, "not here", "Refused: 404 not here", 1],
])("has an exit code for the answer %d %s that a script can trust", async (status, answer, text, exitCode) => {
  const url = await httpServer(
    (request, response) => void request.resume().on("end", () => response.writeHead(status).end(answer)),
  );
  expect(await send(url, "ping")).toEqual({ exitCode, output: expect.stringContaining(text) });
});
