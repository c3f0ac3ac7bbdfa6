import { readFile } from "node:fs/promises";
import http from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Running, startAlertmanager, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { runProgram } from "../helpers/processes.ts";
import { hurried } from "../helpers/rules.ts";

// The drill of docs/deploy.md, followed line by line, with Prometheus, Alertmanager and a pager.

let gateway: Running;
let prometheus: Running;
let alertmanager: Running;
let pager: { url: string; stop(): void };
/** What a person receives of the drill's stage, the oldest first. */
const received: { at: string; status: string; alertname: string; summary: string }[] = [];
const waiting = { timeout: 60_000, interval: 100 };

beforeAll(async () => {
  const server = http.createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    response.end();
    const { status, commonLabels, commonAnnotations } = JSON.parse(text);
    if (commonLabels.stage !== "drill") return;
    const { alertname } = commonLabels;
    received.push({ at: request.url ?? "", status, alertname, summary: commonAnnotations.summary });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  pager = { url: `127.0.0.1:${port}`, stop: () => void server.close().closeAllConnections() };
  const route = (await readFile("config/alertmanager/alertmanager.yml", "utf8"))
    .replaceAll("127.0.0.1:9999", pager.url)
    .replaceAll(/group_(wait|interval): .*/g, "group_$1: 1s");
  [gateway, alertmanager] = await Promise.all([startPushgateway(0), startAlertmanager(0, route)]);
  prometheus = await startPrometheus(0, {
    pushgatewayUrl: gateway.url,
    rules: hurried(await readFile("config/alertmanager/ledger.yml", "utf8")),
    interval: "500ms",
    alertmanagerUrl: alertmanager.url,
  });
});
afterAll(async () => {
  await Promise.all([prometheus?.stop(), alertmanager?.stop(), gateway?.stop()]);
  pager?.stop();
});

it("sends one page that says it is a drill, then its end, and leaves nothing behind", async () => {
  const [, drill = ""] = /```sh\n(drill=[\s\S]*?)```/.exec(await readFile("docs/deploy.md", "utf8")) ?? [];
  // Next to the group of a sampler, whose metric has a type that the gateway holds all groups to.
  const sampler = "# TYPE veza_ledger_orphan_refund_rows gauge\nveza_ledger_orphan_refund_rows 0\n";
  await fetch(`${gateway.url}/metrics/job/veza_ledger/stage/prod`, { method: "PUT", body: sampler });
  const here = drill.replace("https://push.example.com", gateway.url).replace("sleep 120", "sleep 3");
  const program = runProgram("bash", ["-euo", "pipefail", "-c", here], {}, "pipe");
  const page = (status: string) => ({
    at: "/page",
    status,
    alertname: "VezaLedgerOrphanRefunds",
    summary: expect.stringMatching(/^A drill, nobody's money: .*\(drill\)$/),
  });
  await expect.poll(() => received, waiting).toEqual([page("firing")]);
  program.child.stdin?.write("\n");
  await program.exited;
  expect(program.child.exitCode).toBe(0);
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
  expect(metrics.split("\n").filter((line) => line.includes('stage="drill"'))).toEqual([]);
  await expect.poll(() => received, waiting).toEqual([page("firing"), page("resolved")]);
  const alerts = await (await fetch(`${prometheus.url}/api/v1/alerts`)).text();
  expect(alerts).not.toContain('"stage":"drill"');
});
