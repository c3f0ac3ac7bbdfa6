// The drill of docs/deploy.md, followed line by line, with Prometheus, Alertmanager and a pager.
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { alertsOf, type Notification, setGroup, startPager } from "../helpers/monitoring.ts";
import { needs } from "../helpers/needs.ts";
import { runProgram } from "../helpers/processes.ts";
import { hurriedRules } from "../helpers/rules.ts";

let gateway: Running;
let prometheus: Running;
let alertmanager: Running;
let pager: { host: string; stop(): void };
/** What a person receives of the drill's stage, the oldest first. */
const received: object[] = [];
const waiting = { timeout: 60_000, interval: 100 };

beforeAll(async () => {
  pager = await startPager((to, { status, alerts }: Notification) => {
    const ofDrill = alerts.filter(({ labels }) => labels.stage === "drill");
    for (const { labels, annotations } of ofDrill)
      received.push({ to, status, alertname: labels.alertname, summary: annotations.summary });
  });
  const route = (await readFile("config/alertmanager/alertmanager.yml", "utf8"))
    .replaceAll("127.0.0.1:9999", pager.host)
    .replaceAll(/group_(wait|interval): .*/g, "group_$1: 1s");
  [gateway, alertmanager] = await Promise.all([startPushgateway(0), startAlertmanager(0, route)]);
  prometheus = await startPrometheus(0, {
    pushgatewayUrl: gateway.url,
    rules: await hurriedRules(),
    interval: "500ms",
    alertmanagerUrl: alertmanager.url,
  });
});
afterAll(async () => {
  await Promise.all([prometheus?.stop(), alertmanager?.stop(), gateway?.stop()]);
  pager?.stop();
});

const drilling = "sends one page that says it is a drill, then its end, and leaves nothing behind";
it(drilling, await needs("bash", "curl"), async () => {
  const [, drill = ""] = /```sh\n(drill=[\s\S]*?)```/.exec(await readFile("docs/deploy.md", "utf8")) ?? [];
  // Next to the group of a sampler, whose metric has a type that the gateway holds all groups to.
  const sampler = ["# TYPE veza_ledger_orphan_refund_rows gauge", "veza_ledger_orphan_refund_rows 0"];
  await setGroup(gateway.url, "veza_ledger", "prod", sampler);
  const here = drill.replace("https://push.example.com", gateway.url).replace("sleep 120", "sleep 3");
  const program = runProgram("bash", ["-euo", "pipefail", "-c", here], {}, "pipe");
  const page = (status: string) => ({
    to: "/page",
    status,
    alertname: "VezaLedgerOrphanRefunds",
    summary: expect.stringMatching(/^A drill, nobody's money: .*\(drill\)$/),
  });
  await expect.poll(() => received, waiting).toEqual([page("firing")]);
  program.child.stdin?.write("\n");
  await program.exited;
  expect(program.child.exitCode).toBe(0);
  expect(await (await fetch(`${gateway.url}/metrics`)).text()).not.toContain('stage="drill"');
  await expect.poll(() => received, waiting).toEqual([page("firing"), page("resolved")]);
  expect(JSON.stringify(await alertsOf(prometheus.url))).not.toContain("drill");
});
