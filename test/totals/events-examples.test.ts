// The example of docs/events.md, as it is on the page.

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { demoSecret } from "../../commands/demo-secret.ts";
import { databaseForTest } from "../helpers/database.ts";
import { withoutSettings } from "../helpers/environment.ts";
import { needs } from "../helpers/needs.ts";
import { newSecret, startReceiver } from "../helpers/receiver.ts";

const ownSecret = newSecret();
const bothSecrets = `${demoSecret} ${ownSecret}`;
const recorded = '{"status":"recorded","published":true,"stage":"examples"}';

it.each([
  ["posts an event to the demo", {}, recorded, ["1 action stuck_orders"]],
  [
    "posts a ping to another receiver, where no repair may be invented",
    { WEBHOOK_SECRET: `${ownSecret} ${newSecret()}` },
    recorded,
    ["nothing"],
  ],
  ["prints why a delivery was refused", { WEBHOOK_SECRET: newSecret() }, "webhook-signature: does not match", []],
])(
  "the example in docs/events.md %s",
  await needs("bash", "curl", "openssl"),
  async (_, environment, printed, counted) => {
    const { receiverUrl: DATABASE_URL, admin } = await databaseForTest();
    const { url } = await startReceiver({ DATABASE_URL, WEBHOOK_SECRET: bothSecrets, STAGE: "examples" });
    const page = await readFile("docs/events.md", "utf8");
    const [, example = ""] = /### curl\n[\s\S]*?```sh\n([\s\S]*?)```/.exec(page) ?? [];
    const { stdout } = await promisify(execFile)("bash", ["-c", `set -euo pipefail\n${example}`], {
      env: { ...process.env, ...withoutSettings, RECEIVER_URL: url, ...environment },
    });
    expect(stdout).toContain(printed);
    const deliveries = await admin`select words from ledger_metrics.deliveries`;
    expect(deliveries.map(({ words }) => words)).toEqual(counted);
  },
);
