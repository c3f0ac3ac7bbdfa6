import { execFile } from "node:child_process";
import { access, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { beforeAll, expect, inject, it, onTestFinished } from "vitest";
import { handler } from "../handlers/receiver.ts";
import { demoSecret } from "../local/defaults.ts";
import { serve } from "../local/function-url.ts";
import { createDatabase } from "./helpers/database.ts";
import { setEnvironment } from "./helpers/environment.ts";
import { captureLog } from "./helpers/log.ts";

let readme: string;
beforeAll(async () => {
  readme = await readFile("README.md", "utf8");
});

it("has a curl example that posts an event", async () => {
  captureLog();
  const database = await createDatabase();
  onTestFinished(() => database.admin.end());
  setEnvironment({
    DATABASE_URL: database.receiverUrl,
    PUSHGATEWAY_URL: inject("pushgatewayUrl"),
    WEBHOOK_SECRET: demoSecret,
    STAGE: "readme",
  });
  const server = await serve(handler, 0);
  onTestFinished(() => server.stop());
  const example = /```sh\n(url=[\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", example], {
    env: { ...process.env, RECEIVER_URL: server.url },
  });
  expect(stdout).toBe('{"status":"recorded","published":true}');
});

it("has an example of all events that the receiver takes", async () => {
  const { parseEvents } = await import("../lib/events.ts");
  const example = /```json\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  expect(parseEvents(example)).toHaveLength(3);
});

it("links to files that are there", async () => {
  const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, file]) => file ?? "");
  expect(links.length).toBeGreaterThan(5);
  for (const link of links) await access(link);
});
