// `retire`, by the file of a stage, whose two minutes take no time here. test/alerts/notifications.test.ts retires one.
import { expect, it } from "vitest";
import { fileWith, runFile } from "../helpers/on-call-file.ts";
import { httpServer } from "../helpers/servers.ts";

it.each([
  ["where a function still pushes", () => Date.now(), "yes", "Nothing is done: a function still pushes to this stage."],
  ["unless a person confirms it", () => 1, "no", "Nothing is done."],
])("deletes and silences nothing %s", async (_, pushedAt, answer, says) => {
  const changes: unknown[] = [];
  const servers = await httpServer(({ method, url }, response) => {
    if (method !== "GET") changes.push([method, url]);
    response.end(`push_time_seconds{job="veza_ledger",stage="retired"} ${pushedAt()}\n`);
  });
  const file = await fileWith({ PUSHGATEWAY_URL: servers, ALERTMANAGER_URL: servers });
  const { exitCode, output } = await runFile(file, "retire retired", { answers: [answer] });
  expect([exitCode, output]).toEqual([1, expect.stringContaining(says)]);
  expect(changes).toEqual([]);
});
