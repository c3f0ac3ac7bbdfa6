import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { demoSecret } from "../commands/demo-receiver.ts";
import { findOnPath } from "../local/find-on-path.ts";
import { createDatabase } from "./helpers/database.ts";
import { projectFolder, runScript } from "./helpers/processes.ts";
import { newSecret } from "./helpers/receiver.ts";

let page: string;
beforeAll(async () => {
  page = await readFile("docs/events.md", "utf8");
});
const ownSecret = newSecret();
const python = await findOnPath(["python3"]);

const example = (language: string) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "";

/** Runs an example of the page, as it is, against a receiver. Resolves to what it printed, and to what was counted. */
async function run(command: string, file: string, text: string, secret?: string) {
  const database = await createDatabase();
  onTestFinished(() => database.remove());
  const receiver = runScript("test/programs/receiver.ts", [], {
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: `${demoSecret} ${ownSecret}`,
    STAGE: "examples",
  });
  const url = await receiver.printed(/http:\S+/);
  const folder = await mkdtemp(path.join(tmpdir(), "veza-example-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await symlink(path.join(projectFolder, "node_modules"), path.join(folder, "node_modules"));
  await writeFile(path.join(folder, file), text);
  const { stdout } = await promisify(execFile)(command, [path.join(folder, file)], {
    env: { ...process.env, RECEIVER_URL: url, ...(secret && { WEBHOOK_SECRET: secret }) },
  });
  const deliveries = await database.admin`select id from ledger_metrics.deliveries`;
  return { printed: stdout.trim(), deliveries: deliveries.length };
}

const recorded = '{"status":"recorded","published":true,"stage":"examples"}';

const examples: [string, string | undefined, string, () => string, string][] = [
  ["curl", "bash", "example.sh", () => `set -euo pipefail\n${example("sh")}`, ""],
  ["Node", process.execPath, "example.mjs", () => example("js"), "<status> "],
  ["Python", python, "example.py", () => example("python"), "<status> "],
];

describe.each(examples)("posts an event with %s", (_, command, file, text, prefix) => {
  it.skipIf(!command)("to the local stack", async () => {
    const printed = prefix.replace("<status>", "200") + recorded;
    expect(await run(command ?? "", file, text())).toEqual({ printed, deliveries: 1 });
  });

  it.skipIf(!command)("with the secret in WEBHOOK_SECRET", async () => {
    const printed = prefix.replace("<status>", "200") + recorded;
    expect(await run(command ?? "", file, text(), ownSecret)).toEqual({ printed, deliveries: 1 });
  });

  it.skipIf(!command)("and prints why it was refused", async () => {
    const reason = `${prefix.replace("<status>", "401")}{"error":"webhook-signature: does not match`;
    const { printed, deliveries } = await run(command ?? "", file, text(), newSecret());
    expect({ printed: printed.slice(0, reason.length), deliveries }).toEqual({ printed: reason, deliveries: 0 });
  });
});
