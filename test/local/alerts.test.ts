// What the page of npm start says of alerts: from a real Prometheus, with rules of any kind.
import { expect, it, onTestFinished } from "vitest";
import { readAlerts } from "../../local/alerts.ts";
import { startPrometheus } from "../../local/programs.ts";
import { closedPort } from "../helpers/servers.ts";

const rule = (name: string, severity: string, waits = "0s", expr = "vector(1)") => ({
  alert: name,
  expr,
  for: waits,
  labels: { severity },
  annotations: { summary: `${name}.`, runbook_url: `http://runbook.example/${name}` },
});
const two = 'label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", "")';

it("has pages before tickets, what fires before what is about to, and says how many rules are not evaluated", async () => {
  const rules = [
    { record: "recorded", expr: "vector(1)" },
    rule("Later", "ticket", "2h"),
    rule("Soon", "page", "1h"),
    rule("Ticket", "ticket"),
    rule("Now", "page"),
    rule("Alive", "none"),
    rule("Silent", "page", "0s", "vector(0) > 0"),
    rule("Broken", "page", "0s", `(${two}) + on() (${two})`),
  ];
  const never = { name: "never", interval: "10000d", rules: [rule("Unknown", "page")] };
  const prometheus = await startPrometheus(0, {
    pushgatewayUrl: `http://127.0.0.1:${closedPort}`,
    rules: JSON.stringify({ groups: [{ name: "all", rules }, never] }),
    interval: "1s",
  });
  onTestFinished(() => prometheus.stop());
  await expect.poll(async () => (await readAlerts(prometheus.url)).problem).toBe("Rules that are not evaluated: 2.");
  const { alerts } = await readAlerts(prometheus.url);
  expect(alerts.map(({ state, name }) => `${state} ${name}`)).toEqual([
    "firing Now",
    "pending Soon",
    "firing Ticket",
    "pending Later",
  ]);
  expect(alerts[1]).toMatchObject({ severity: "page", summary: "Soon.", runbook: "http://runbook.example/Soon" });
  expect(Math.abs(3_600 - Number(alerts[1]?.seconds))).toBeLessThan(300);
});

it("takes no silence for health: without Prometheus, and without its answer", async () => {
  expect((await readAlerts(undefined)).problem).toMatch(/^No Prometheus runs yet/);
  expect((await readAlerts(`http://127.0.0.1:${closedPort}`)).problem).toBe("No answer from Prometheus.");
});
