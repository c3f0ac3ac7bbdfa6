import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, inject, it, onTestFinished } from "vitest";
import { demoSecret } from "../commands/demo-receiver.ts";
import { findOnPath } from "../local/find-on-path.ts";
import { createDatabase } from "./helpers/database.ts";
import { projectFolder, runScript } from "./helpers/processes.ts";

let page: string;
beforeAll(async () => {
  page = await readFile("docs/events.md", "utf8");
});
const python = await findOnPath(["python3"]);

const example = (language: string) => new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page)?.[1] ?? "";

/** Runs an example of the page, as it is, against a receiver. Resolves to what it printed, and to what was counted. */
async function run(command: string, file: string, text: string) {
  const database = await createDatabase();
  onTestFinished(() => database.admin.end());
  const receiver = runScript("test/programs/receiver.ts", [], {
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: demoSecret,
    STAGE: "examples",
  });
  const url = await receiver.printed(/http:\S+/);
  const folder = await mkdtemp(path.join(tmpdir(), "veza-example-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await symlink(path.join(projectFolder, "node_modules"), path.join(folder, "node_modules"));
  await writeFile(path.join(folder, file), text);
  const { stdout } = await promisify(execFile)(command, [path.join(folder, file)], {
    env: { ...process.env, RECEIVER_URL: url },
  });
  const deliveries = await database.admin`select id from ledger_metrics.deliveries`;
  return { printed: stdout.trim(), deliveries: deliveries.length };
}

const recorded = '{"status":"recorded","published":true,"stage":"examples"}';

it("posts an event with curl", async () => {
  expect(await run("bash", "example.sh", `set -euo pipefail\n${example("sh")}`)).toEqual({
    printed: recorded,
    deliveries: 1,
  });
});

it("posts an event from Node", async () => {
  expect(await run(process.execPath, "example.mjs", example("js"))).toEqual({
    printed: `200 ${recorded}`,
    deliveries: 1,
  });
});

it.skipIf(!python)("posts an event from Python", async () => {
  expect(await run(python ?? "", "example.py", example("python"))).toEqual({
    printed: `200 ${recorded}`,
    deliveries: 1,
  });
});
