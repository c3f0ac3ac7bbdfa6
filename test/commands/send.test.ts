// npm run send: what it prints and its exit code, for each answer of a receiver and each wrong setting.
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished, vi } from "vitest";
import { answerTimeoutMs } from "../../commands/deliver.ts";
import { run } from "../../commands/send.ts";
import { inProcess } from "../helpers/commands.ts";
import { databaseForTest } from "../helpers/database.ts";
import { runScript } from "../helpers/processes.ts";
import { newSecret, startReceiver } from "../helpers/receiver.ts";
import { fakeSecretsManager } from "../helpers/secrets.ts";
import { closedPort, httpServer } from "../helpers/servers.ts";
import { newFolder } from "../helpers/temporary-folder.ts";

const secret = newSecret();
const sendWith = (environment: Record<string, string | undefined>, ...args: string[]) =>
  inProcess(run, args, {
    RECEIVER_URL: undefined,
    WEBHOOK_SECRET: secret,
    SECRET_ID: undefined,
    STAGE: undefined,
    ...environment,
  });
/** Without the lines that it prints before it sends. */
const send = async (url: string, ...args: string[]) => {
  const { exitCode, output } = await sendWith({ RECEIVER_URL: url }, ...args);
  return { exitCode, output: output.replace(/^Sending .*\n {2}npm run send -- .*\n/, "") };
};

/** The real receiver, on a Postgres that is there. */
async function startWithDatabase() {
  const { receiverUrl, admin } = await databaseForTest();
  const { url } = await startReceiver({ DATABASE_URL: receiverUrl, WEBHOOK_SECRET: secret, STAGE: "send" });
  return { url, sql: admin };
}

it.each([
  ["a malformed secret", { WEBHOOK_SECRET: `"${secret}"` }, "WEBHOOK_SECRET must be whsec_"],
  ["nothing but spaces", { WEBHOOK_SECRET: "  " }, "WEBHOOK_SECRET is missing"],
  ["a URL without a scheme", { RECEIVER_URL: "x.lambda-url.on.aws" }, "RECEIVER_URL must begin with https://"],
  ["a URL with a user", { RECEIVER_URL: "https://hunter2@host" }, "RECEIVER_URL must not have a user or a password"],
  ["a password alone", { RECEIVER_URL: "https://:hunter2@host" }, "RECEIVER_URL must not have a user or a password"],
  [
    "another's receiver without its secret",
    { RECEIVER_URL: "https://x.on.aws", WEBHOOK_SECRET: undefined },
    "WEBHOOK_SECRET is missing",
  ],
  ["a secret's id, and no URL", { SECRET_ID: "receiver" }, "RECEIVER_URL is missing"],
])("names the mistake in %s, shows no value, and sends nothing", async (_, environment, problem) => {
  const { exitCode, output } = await sendWith(environment, "ping");
  expect([exitCode, output]).toEqual([2, expect.stringContaining(problem)]);
  expect(output).not.toMatch(/hunter2|usage/);
  expect(output).not.toContain(secret);
});

it("tries everything with ping, counts a file once under its id, and takes no other events for it", async () => {
  const { url, sql } = await startWithDatabase();
  const totals = async () => (await sql`select name, labels, value::int from ledger_metrics.totals`).map(Object.values);
  expect(await send(url, "ping")).toEqual({
    exitCode: 0,
    output: expect.stringMatching(/^Recorded\. It is on the gateway\. \(id msg_\S+, stage send\)$/),
  });
  expect(await totals()).toEqual([]);

  const file = path.join(await newFolder(), "events.json");
  await writeFile(file, ` [{"type":"reconciler.orphan_refund", "timestamp":"${new Date().toISOString()}"}]\n`);
  const sendFile = () => send(url, "--file", file, "--id", "lost_1");
  const output = "It is on the gateway. (id lost_1, stage send)";
  expect(await sendFile()).toEqual({ exitCode: 0, output: `Recorded. ${output}` });
  const duplicate = { exitCode: 0, output: `Duplicate, counted once. ${output}` };
  expect(await sendFile()).toEqual(duplicate);
  expect(await send(url, "orphan_refund", "--id", "lost_1")).toEqual(duplicate);
  expect(await send(url, "action", "stuck_orders", "--id", "lost_1")).toMatchObject({ exitCode: 1 });
  expect(await totals()).toEqual([["veza_reconciler_orphan_refunds_total", {}, 1]]);
  expect(await send(url, "action", "stuck_orders")).toMatchObject({ exitCode: 0 });
  expect(await send(url, "sweep", "1.5")).toMatchObject({ exitCode: 0 });
  expect(await totals()).toContainEqual(["veza_reconciler_actions_total", { phase: "stuck_orders" }, 1]);
  expect(await totals()).toContainEqual(["veza_reconciler_sweep_duration_seconds_count", {}, 1]);
});

it("takes the secret from Secrets Manager, unless the environment has it", async () => {
  const { url } = await startWithDatabase();
  await fakeSecretsManager({ receiver: { WEBHOOK_SECRET: `${secret} ${newSecret()}` }, other: {} });
  const from = (SECRET_ID: string, WEBHOOK_SECRET?: string) =>
    sendWith({ RECEIVER_URL: url, SECRET_ID, WEBHOOK_SECRET }, "ping");
  expect(await from("receiver")).toMatchObject({ exitCode: 0 });
  expect(await from("other", secret)).toMatchObject({ exitCode: 0 });
  const reason = "SECRET_ID: not-there could not be read: ResourceNotFoundException";
  expect(await from("not-there")).toEqual({ exitCode: 2, output: expect.stringContaining(reason) });
});

it("names its stage, so that a receiver of another stage refuses the delivery; its id is still free there", async () => {
  const { url, sql } = await startWithDatabase();
  await fakeSecretsManager({ ours: { STAGE: "send" }, others: { STAGE: "staging" } });
  const from = (SECRET_ID: string | undefined, STAGE?: string) =>
    sendWith({ RECEIVER_URL: url, SECRET_ID, STAGE }, "action", "stuck_orders", "--id", "once");
  const refused = /Refused: 409 \{"error":"veza-stage: the delivery is of the stage staging, and [^\n]*\}$/;
  expect(await from("others")).toEqual({ exitCode: 1, output: expect.stringMatching(refused) });
  expect(await from(undefined, "staging")).toEqual({ exitCode: 1, output: expect.stringMatching(refused) });
  expect(await from(undefined, "no stage")).toMatchObject({ exitCode: 2 });
  expect(await sql`select from ledger_metrics.deliveries`).toHaveLength(0);
  expect(await from("ours")).toMatchObject({ exitCode: 0 });
});

const again = "\nSend it again with the same events and --id ping_1: it is counted once.";
it.each([
  [200, '{"status":"recorded"}', 0, "Recorded. Another call or the next tick publishes it. (id ping_1)"],
  [200, "<html>", 3, `Not confirmed: 200 <html>${again}`],
  [200, '{"status":"ok"}', 3, `Not confirmed: 200 {"status":"ok"}${again}`],
  [429, "{}", 3, `Not confirmed: 429 {}${again}`],
  [500, "{}", 3, `Not confirmed: 500 {}${again}`],
  [400, '{"error":"no","stage":null}', 1, 'Refused: 400 {"error":"no","stage":null}'],
  [
    409,
    '{"error":"no","stage":"prod"}',
    1,
    'Refused: 409 {"error":"no","stage":"prod"}\nIts events are not counted. Send what was not counted under another id.',
  ],
  [409, "<html>", 3, `Not confirmed, by something else than the receiver: 409 <html>${again}`],
  [
    413,
    '{"message":"too large"}',
    3,
    `Not confirmed, by something else than the receiver: 413 {"message":"too large"}${again}`,
  ],
  [408, "no", 3, `Not confirmed: 408 no${again}`],
])("has words and an exit code for the answer %d %s", async (status, answer, exitCode, output) => {
  const url = await httpServer(
    (request, response) => void request.resume().on("end", () => response.writeHead(status).end(answer)),
  );
  expect(await send(url, "ping", "--id", "ping_1")).toEqual({ exitCode, output });
});

const interrupted = "says its id before it sends, and after %s how to send the same again";
it.each(["SIGINT", "SIGTERM"] as const)(interrupted, async (signal) => {
  const asked = Promise.withResolvers<void>();
  const url = await httpServer(() => asked.resolve()); // It may have counted it.
  const program = runScript("commands/send.ts", ["action", "stuck_orders"], {
    RECEIVER_URL: url,
    WEBHOOK_SECRET: secret,
  });
  await asked.promise;
  const id = await program.printed(/Sending (msg_\S+) to http.*\n {2}npm run send -- action stuck_orders --id \S+\n/);
  program.child.kill(signal);
  await program.exited;
  expect(program.child.exitCode).toBe(3);
  expect(program.output()).toContain(`Interrupted. Whether it was counted is unknown.\nSend it again`);
  expect(program.output()).toContain(`npm run send -- action stuck_orders --id ${id}\n`);
});

it("prints arguments as a shell reads them", async () => {
  const file = path.join(await newFolder(), "it's events.json");
  await writeFile(file, "[]");
  const { output } = await sendWith({ RECEIVER_URL: `http://127.0.0.1:${closedPort}/` }, "--file", file, "--id", "$1");
  const [, printed = ""] = /^ {2}npm run send -- (.*)$/m.exec(output) ?? [];
  const { stdout } = await promisify(execFile)("sh", ["-c", `printf '%s\\n' ${printed}`]);
  expect(stdout).toBe(`--file\n${file}\n--id\n$1\n`);
  expect(output).toContain("Send it again with the same events and --id '$1': it is counted once.");
});

it("says why there is no answer, also of a receiver that is mute for 20 s", async () => {
  const { setTimeout: after } = globalThis;
  const sooner = (work: () => void, ms?: number) => after(work, ms === answerTimeoutMs ? ms / 100 : ms);
  const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(sooner as typeof setTimeout);
  onTestFinished(() => spy.mockRestore());
  const mute = await httpServer(() => {});
  for (const [url, reason] of Object.entries({
    [`http://127.0.0.1:${closedPort}/`]: "ECONNREFUSED",
    [mute]: "no answer within 20000 ms",
  })) {
    const { exitCode, output } = await send(url, "ping", "--id", "ping_1");
    expect(exitCode).toBe(3);
    expect(output).toMatch(new RegExp(`^No answer from ${url}: .*${reason}.*\\nSend it again .*ping_1`));
  }
});
