import { chmod, mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, inject, it } from "vitest";
import { createDatabase } from "./helpers/database.ts";
import { runScript } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";

const withoutSettings = {
  DATABASE_URL: undefined,
  PUSHGATEWAY_URL: undefined,
  WEBHOOK_SECRET: undefined,
  SECRET_ID: undefined,
  STAGE: undefined,
};

it("shows the demo ledger's gauges and counters, and leaves nothing behind", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-local-"));
  await chmod(folder, 0o755); // Where the stack runs as root, PostgreSQL has another user.
  const stack = runScript("local/start.ts", ["--every", "1"], { ...withoutSettings, TMPDIR: folder });
  await stack.printed(/"message":"tick"/);
  const gatewayUrl = await stack.printed(/^Pushgateway +(\S+)/m);
  const receiverUrl = await stack.printed(/^Receiver +(\S+)/m);
  const postgresUrl = await stack.printed(/^Postgres +(\S+)/m);
  const metrics = async () => (await fetch(`${gatewayUrl}/metrics`)).text();
  const text = await metrics();
  expect(await readdir(folder)).toHaveLength(1);
  for (const [metric, count] of [
    ["veza_ledger_stuck_orders_pending", 4],
    ["veza_ledger_stuck_refunds_pending", 3],
    ["veza_ledger_failed_transfers_at_max_retry", 1],
    ["veza_ledger_orphan_refund_rows", 2],
    ["veza_ledger_reversal_pending_transfers", 2],
  ]) {
    expect(text).toContain(`${metric}{instance="",job="veza_ledger"} ${count}\n`);
  }

  const send = runScript("local/send.ts", ["action", "stuck_orders"], {
    ...withoutSettings,
    RECEIVER_URL: receiverUrl,
  });
  await send.exited;
  expect(send.output()).toBe('200 {"status":"recorded","published":true}\n');
  expect(await metrics()).toContain('job="veza_reconciler",phase="stuck_orders"} 1\n');

  stack.child.kill("SIGINT");
  await stack.exited;
  expect(stack.child.exitCode).toBe(0);
  await expect(fetch(gatewayUrl)).rejects.toThrow("fetch failed");
  await expect(fetch(receiverUrl)).rejects.toThrow("fetch failed");
  await expect(fetch(postgresUrl.replace("postgres:postgres@", "").replace("postgres:", "http:"))).rejects.toThrow(
    "fetch failed",
  );
  expect(await readdir(folder)).toEqual([]);
});

it("samples a database that it was given, and writes nothing to it", async () => {
  const database = await createDatabase();
  const stack = runScript("local/start.ts", ["--every", "1"], {
    ...withoutSettings,
    DATABASE_URL: database.samplerUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: newSecret(),
    STAGE: "long_lived",
  });
  await stack.printed(/"message":"tick"[\s\S]*"message":"tick"/);
  stack.child.kill("SIGTERM");
  await stack.exited;
  expect(stack.output()).not.toContain("Postgres");
  const [row] = await database.admin`
    select (select count(*) from orders) + (select count(*) from ledger_metrics.deliveries) as n`;
  expect(row?.n).toBe("0");
  await database.admin.end();
});

it.each([
  [
    { DATABASE_URL: "postgres://u:hunter2@127.0.0.1/x", PUSHGATEWAY_URL: "http://127.0.0.1" },
    "WEBHOOK_SECRET is missing",
  ],
  [{ DATABASE_URL: "mysql://u:hunter2@127.0.0.1/x", PUSHGATEWAY_URL: "x" }, "DATABASE_URL must be like postgres://"],
])("ends with one clear line when a setting is missing or wrong", async (settings, message) => {
  const stack = runScript("local/start.ts", [], { ...withoutSettings, ...settings });
  await stack.exited;
  expect(stack.child.exitCode).toBe(1);
  expect(stack.output()).toContain(message);
  expect(stack.output().trim().split("\n")).toHaveLength(1);
  expect(stack.output()).not.toContain("hunter2");
});

it.each([[[]], [["dance"]], [["action"]], [["sweep"]]])(
  "send says how it is used when called with %j",
  async (args) => {
    const send = runScript("local/send.ts", args, withoutSettings);
    await send.exited;
    expect(send.child.exitCode).toBe(2);
    expect(send.output()).toBe("usage: npm run send -- action <phase> | orphan_refund | sweep <seconds>\n");
  },
);
