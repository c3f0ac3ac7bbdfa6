import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, inject, it, onTestFinished } from "vitest";
import { signedHeaders } from "../local/deliver.ts";
import { createDatabase, type TestDatabase, targetOf } from "./helpers/database.ts";
import { projectFolder } from "./helpers/processes.ts";
import { startProxy, type TcpProxy } from "./helpers/proxy.ts";
import { newSecret } from "./helpers/receiver.ts";

// A process with nothing in it but the handler, as on Lambda: what the handler waits for has to keep it alive.
const secret = newSecret();
const body = JSON.stringify({ type: "reconciler.orphan_refund", timestamp: new Date().toISOString() });
let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.admin.end());

/** Starts a receiver behind a proxy. `deliver` resolves to the status of the answer, or to how the process ended. */
async function startLambda(): Promise<{ child: ChildProcess; proxy: TcpProxy; deliver: () => Promise<unknown> }> {
  const { port } = targetOf(database.receiverUrl);
  const proxy = await startProxy(port);
  const child = fork("test/programs/lambda.ts", {
    cwd: projectFolder,
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    env: {
      ...process.env,
      DATABASE_URL: database.receiverUrl.replace(`:${port}/`, `:${proxy.port}/`),
      PUSHGATEWAY_URL: inject("pushgatewayUrl"),
      WEBHOOK_SECRET: secret,
      STAGE: "process",
      SECRET_ID: undefined,
    },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const ended = once(child, "exit").then(([code, signal]) => `ended with ${code ?? signal}`);
  let deliveries = 0;
  const deliver = async () => {
    deliveries += 1;
    const headers = signedHeaders(secret, `msg_${child.pid}_${deliveries}`, new Date(), body);
    child.send({ requestContext: { http: { method: "POST" } }, headers, body });
    const answered = once(child, "message").then(([{ statusCode }]) => statusCode);
    return await Promise.race([answered, ended]);
  };
  return { child, proxy, deliver };
}

it.each(["goes on", "is stopped meanwhile"])(
  "answers 50 of 50 deliveries after its link to Postgres was reset, when the process %s",
  async (what) => {
    const { child, proxy, deliver } = await startLambda();
    expect(await deliver()).toBe(200);
    const statuses: unknown[] = [];
    for (let round = 0; round < 50 && child.exitCode === null; round += 1) {
      if (what !== "goes on") child.kill("SIGSTOP");
      // Before the delivery, at the same time, or a moment later.
      const answering = round % 3 === 0 ? undefined : deliver();
      if (round % 3 === 2) await sleep(round / 25);
      proxy.cut(true);
      child.kill("SIGCONT");
      statuses.push(await (answering ?? deliver()));
    }
    expect(statuses).toEqual(Array(50).fill(200));
  },
);
