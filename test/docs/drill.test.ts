// config/alertmanager/drill.sh leaves no overdue row behind, however it ends. prometheus.test.ts runs it to the page.
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { expect, it } from "vitest";
import { needs } from "../helpers/needs.ts";
import { runProgram } from "../helpers/processes.ts";
import { httpServer } from "../helpers/servers.ts";

it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("ends after %s, too", await needs("curl"), async (signal) => {
  const seen: string[] = [];
  const url = await httpServer(async (request, response) => {
    const [, rows = ""] = / (\d+)\n$/.exec(await text(request)) ?? [];
    seen.push([request.method, request.url, request.headers.authorization, rows].join(" ").trim());
    response.end();
  });
  const script = (await readFile("config/alertmanager/drill.sh", "utf8")).replace("sleep 120", "sleep 0");
  const drill = runProgram("sh", ["-c", script], { PUSHGATEWAY_URL: url.replace("//", "//user:word@") }, "pipe");
  await drill.printed(/Press Enter/);
  drill.child.kill(signal);
  expect((await drill.exited).exitCode).toBe(1);
  const to = "/metrics/job/veza_ledger/stage/drill Basic dXNlcjp3b3Jk";
  expect(seen).toEqual([`POST ${to} 1`, `POST ${to} 0`, `DELETE ${to}`]);
});
