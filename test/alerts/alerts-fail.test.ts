// A pager refuses: who is told, by the shipped rules and route on a real Alertmanager, on a clock that runs fast.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { dump } from "js-yaml";
import { expect, it, onTestFinished } from "vitest";
import { checks } from "../../lib/counts/checks.ts";
import { exposeSample } from "../../lib/counts/sample.ts";
import { parseDatabaseUrl } from "../../lib/settings/settings.ts";
import { startPrometheus, startPushgateway } from "../../local/programs.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { setGroup, startPager } from "../helpers/monitoring.ts";
import { faster, isAlert, shippedGroups } from "../helpers/rules.ts";

const minuteMs = 400;
/** A machine that stalls for so long is not taken for a silent sampler. */
const silentMinutes = 20;
const played = /^VezaLedger(Alive|StuckOrders|AlertsFail)$/;
const database = parseDatabaseUrl("postgres://sampler@localhost/ledger");

/** What a sampler pushes that has counted so many overdue orders. */
function tickOf(overdue: number): Promise<string> {
  const outcomes = checks.map((check) => {
    const count = check.id === "stuck_orders" ? overdue : 0;
    return { check, count, overdue: count, oldestSeconds: 0 };
  });
  const tick = { sampledAtSeconds: Date.now() / 1000, durationSeconds: 0, database };
  return exposeSample({ outcomes, evidence: [], unread: [], acceptance: new Map() }, tick);
}

it("a ticket tells of a pager that refuses for 20 minutes, and none of one that refused once", async () => {
  const received: { to: string; about: string; minute: number }[] = [];
  const refused: string[] = [];
  let refuses = (_: string) => false;
  let startedAt = Date.now();
  const minuteNow = () => (Date.now() - startedAt) / minuteMs;
  const [gateway, pager] = await Promise.all([
    startPushgateway(0),
    startPager(
      (to, { alerts: [{ annotations = {} } = {}] }) =>
        received.push({ to, about: annotations.summary ?? "", minute: minuteNow() }),
      (to) => refuses(to) && refused.push(to) > 0,
    ),
  ]);
  onTestFinished(() => pager.stop());
  onTestFinished(() => gateway.stop());
  const shorter = (yaml: string) => faster(yaml, minuteMs, 1_440, silentMinutes);
  const route = await readFile("config/alertmanager/alertmanager.yml", "utf8");
  const alertmanager = await startAlertmanager(0, shorter(route.replaceAll("127.0.0.1:9999", pager.host)));
  onTestFinished(() => alertmanager.stop());
  const groups = (await shippedGroups()).map(({ rules, ...group }) => ({
    ...group,
    rules: rules.filter((rule) => isAlert(rule) && played.test(rule.alert)),
  }));
  const prometheus = await startPrometheus(0, {
    pushgatewayUrl: gateway.url,
    alertmanagerUrl: alertmanager.url,
    rules: shorter(dump({ groups }, { noRefs: true })),
    interval: `${minuteMs / 2}ms`,
  });
  onTestFinished(() => prometheus.stop());
  /** Ticks, with so many overdue orders, until this holds, or for so many minutes. */
  const tickUntil = async (holds: () => boolean, minutes: number, overdue: number) => {
    for (startedAt = Date.now(); !holds() && minuteNow() < minutes; await sleep(minuteMs)) {
      await setGroup(gateway.url, "veza_ledger", "prod", [await tickOf(overdue)]);
    }
  };
  const to = (receiver: string) => received.filter((one) => one.to === receiver);

  await tickUntil(() => to("/alive").length > 2, 300, 0);
  refuses = (receiver) => receiver === "/alive" && refused.length === 0;
  await tickUntil(() => refused.length > 0, 300, 0);
  await tickUntil(() => false, 40, 0);
  expect(refused).toEqual(["/alive"]);
  expect(to("/ticket")).toEqual([]);

  refuses = (receiver) => receiver === "/page";
  await tickUntil(() => to("/ticket").length > 0, 300, 7);
  expect(to("/page")).toEqual([]);
  expect(refused.filter((receiver) => receiver === "/page").length).toBeGreaterThan(1);
  const about = `Alerts are not delivered by ${new URL(alertmanager.url).host}`;
  expect(to("/ticket")).toMatchObject([{ about }]);
  expect(to("/ticket")[0]?.minute).toBeGreaterThan(20);
});
