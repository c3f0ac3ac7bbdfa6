import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

type Labels = Record<string, string>;

/** A panel of the dashboard, as far as tests look at it. */
interface Panel {
  type: string;
  title: string;
  description?: string;
  fieldConfig?: { defaults: { mappings?: unknown[]; thresholds?: { steps: object[] } }; overrides: object[] };
  targets?: { expr: string }[];
  links?: { url: string }[];
}

/** The shipped dashboard. A row is a panel without queries. */
export const dashboard = JSON.parse(await readFile("config/grafana/ledger.json", "utf8")) as {
  panels: Panel[];
  links: [{ url: string }];
};

/** The first query of the panel with this title. */
export const queryOf = (name: string) => dashboard.panels.find(({ title }) => title === name)?.targets?.[0]?.expr ?? "";

/** Asks the API of Prometheus, VictoriaMetrics or vmalert. */
export async function ask<Data>(url: string, path: string, parameters: Record<string, string> = {}): Promise<Data> {
  const response = await fetch(`${url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const { status, error, data } = (await response.json()) as { status: string; error?: string; data: Data };
  if (status !== "success") throw new Error(`${path} ${JSON.stringify(parameters)}: ${error}`);
  return data;
}

/** What a query gives now, in its order. */
export async function resultOf(url: string, query: string): Promise<{ labels: Labels; value: number }[]> {
  const { result } = await ask<{ result: { metric: Labels; value: [number, string] }[] }>(url, "query", { query });
  return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
}

/** The alerts that an engine knows of. */
export async function alertsOf<Alert>(url: string): Promise<Alert[]> {
  return (await ask<{ alerts: Alert[] }>(url, "alerts")).alerts;
}

/** How an engine's evaluations of all rules went, each as `ok` or with its error. */
export async function healthOfRules(url: string): Promise<string[]> {
  const { groups } = await ask<{ groups: { rules: { health: string; lastError?: string }[] }[] }>(url, "rules");
  return groups.flatMap(({ rules }) => rules.map(({ health, lastError = "" }) => `${health} ${lastError}`.trim()));
}

/** Replaces a group on a Pushgateway by these lines. Without lines, it deletes the group. */
export async function setGroup(gatewayUrl: string, job: string, stage: string, lines: string[] = []): Promise<void> {
  const url = `${gatewayUrl}/metrics/job/${job}${stage && `/stage/${stage}`}`;
  const put = { method: "PUT", body: `${lines.join("\n")}\n` };
  const answer = await fetch(url, lines.length > 0 ? put : { method: "DELETE" });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`);
}

/** What Alertmanager posts. */
interface Notification {
  status: "firing" | "resolved";
  groupKey: string;
  alerts: { status: "firing" | "resolved"; fingerprint: string; labels: Labels; annotations: Labels }[];
}

/** Stands in for a pager and a ticket system, which the shipped route posts to `/page` and `/ticket`. */
export async function startPager(
  onPost: (to: string, notification: Notification) => void,
): Promise<{ host: string; stop(): void }> {
  const server = http.createServer(async (request, response) => {
    onPost(request.url ?? "", (await json(request)) as Notification);
    response.end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => void server.close().closeAllConnections(),
  };
}
