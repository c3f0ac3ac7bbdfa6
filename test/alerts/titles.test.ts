// The title that a pager or a mail shows, by the lines in comments of the shipped route: a real Alertmanager sends to
// stand-ins of PagerDuty, Opsgenie and a mail server.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { json } from "node:stream/consumers";
import { dump, load } from "js-yaml";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Running } from "../../local/programs.ts";
import { withTimes } from "../../local/rule-times.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";

type Receiver = Record<string, unknown> & { name: string };

let alertmanager: Running;
/** Who has shown which title. */
const titles: string[] = [];
/** The services: they take what comes. */
const services = http.createServer(async (request, response) => {
  const body = (await json(request)) as { payload?: { summary: string }; message?: string };
  titles.push(`${request.url}: ${body.payload?.summary ?? body.message}`);
  response.end("{}");
});
/** It takes each mail. */
const mailServer = net.createServer((client) => {
  client.write("220 stand-in\r\n");
  let isData = false;
  createInterface(client).on("line", (line) => {
    if (isData && line.startsWith("Subject: ")) titles.push(`mail: ${line.slice("Subject: ".length)}`);
    if (isData && line !== ".") return;
    isData = line === "DATA";
    client.write(isData ? "354 go on\r\n" : "250 ok\r\n");
  });
});
/** Starts a server on 127.0.0.1. Resolves to its host and port. */
async function listening(server: net.Server): Promise<string> {
  await once(server.listen(0, "127.0.0.1"), "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeAll(async () => {
  const [host, smarthost] = await Promise.all([listening(services), listening(mailServer)]);
  const text = await readFile("config/alertmanager/alertmanager.yml", "utf8");
  // The blocks in comments, which people put into the place of the receivers' webhooks.
  const lines = text.split("\n").filter((line) => line.startsWith("  #   "));
  const suggested = load(lines.map((line) => line.slice("  #   ".length)).join("\n")) as Record<string, [object]>;
  const own = {
    pagerduty_configs: { url: `http://${host}/pagerduty` },
    opsgenie_configs: { api_url: `http://${host}/opsgenie` },
    email_configs: { smarthost, require_tls: false },
  };
  const sendingTo = (...names: (keyof typeof own)[]) =>
    Object.fromEntries(names.map((name) => [name, [{ ...suggested[name]?.[0], ...own[name] }]]));
  const { receivers, ...config } = load(text) as { receivers: Receiver[] };
  const sending: Receiver[] = [
    { name: "pages", ...sendingTo("pagerduty_configs", "opsgenie_configs") },
    { name: "tickets", ...sendingTo("email_configs") },
  ];
  const all = receivers.map((receiver) => sending.find(({ name }) => name === receiver.name) ?? receiver);
  alertmanager = await startAlertmanager(
    0,
    withTimes(dump({ ...config, receivers: all }), (seconds) => seconds / 60),
  );
});
afterAll(async () => {
  await alertmanager?.stop();
  services.close();
  mailServer.close();
});

it("is the summary, at PagerDuty, at Opsgenie and of a mail", async () => {
  const alerts = [
    ["page", "A drill, nobody's money: Orphan refunds, over 10 minutes old or marked as failed: 1 (drill)"],
    ["ticket", "Orphan refunds marked as failed in an hour: 1, after 7 before (drill)"],
  ].map(([severity, summary]) => ({
    labels: { alertname: "VezaLedgerOrphanRefunds", stage: "drill", severity },
    annotations: { summary },
  }));
  const headers = { "content-type": "application/json" };
  const url = `${alertmanager.url}/api/v2/alerts`;
  expect((await fetch(url, { method: "POST", headers, body: JSON.stringify(alerts) })).status).toBe(200);
  const [page, ticket] = alerts.map(({ annotations }) => annotations.summary);
  await expect
    .poll(() => titles.map((title) => title.trim()).sort())
    .toEqual([`/opsgenie/v2/alerts: ${page}`, `/pagerduty: ${page}`, `mail: [FIRING] ${ticket}`]);
});
