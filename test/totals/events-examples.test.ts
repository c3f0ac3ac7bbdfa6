// The example of docs/events.md, as it is on the page.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, inject, it, onTestFinished } from "vitest";
import { demoSecret } from "../../commands/demo-receiver.ts";
import { createDatabase } from "../helpers/database.ts";
import { runScript } from "../helpers/processes.ts";
import { newSecret } from "../helpers/receiver.ts";

const ownSecret = newSecret();
const recorded = '{"status":"recorded","published":true,"stage":"examples"}';

/** Runs the page's example, as it is, against a receiver. Resolves to what it printed, and to what was counted. */
async function run(secret?: string) {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  const receiver = runScript("test/programs/receiver.ts", [], {
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: `${demoSecret} ${ownSecret}`,
    STAGE: "examples",
  });
  const url = await receiver.printed(/http:\S+/);
  const [, example = ""] =
    /### curl\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(await readFile("docs/events.md", "utf8")) ?? [];
  const { stdout } = await promisify(execFile)("bash", ["-c", `set -euo pipefail\n${example}`], {
    env: { ...process.env, RECEIVER_URL: url, ...(secret && { WEBHOOK_SECRET: secret }) },
  });
  const deliveries = await database.admin`select id from ledger_metrics.deliveries`;
  return { printed: stdout.trim(), deliveries: deliveries.length };
}

it("the example in docs/events.md posts an event to the local stack", async () => {
  expect(await run()).toEqual({ printed: recorded, deliveries: 1 });
});

it("the example in docs/events.md posts an event with the secret in WEBHOOK_SECRET", async () => {
  expect(await run(ownSecret)).toEqual({ printed: recorded, deliveries: 1 });
});

it("the example in docs/events.md prints why an event was refused", async () => {
  const { printed, deliveries } = await run(newSecret());
  expect(printed).toMatch(/^{"error":"webhook-signature: does not match/);
  expect(deliveries).toBe(0);
});
