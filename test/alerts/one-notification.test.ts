// Webhooks are lost while Postgres is away for 2 hours: what a person receives, on a clock that runs fast.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { dump, load } from "js-yaml";
import { expect, it, onTestFinished } from "vitest";
import { blindnessMetric } from "../../lib/counts/blindness.ts";
import { checks } from "../../lib/counts/checks.ts";
import { exposeSample } from "../../lib/counts/sample.ts";
import { series } from "../../lib/gateway/exposition.ts";
import { parseDatabaseUrl } from "../../lib/settings/settings.ts";
import { startPrometheus, startPushgateway } from "../../local/programs.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { setGroup, startPager } from "../helpers/monitoring.ts";
import { faster, rulesPath } from "../helpers/rules.ts";

const minuteMs = 150;
/** A machine that stalls for so long makes ticks unknown, and they decide nothing. */
const silentMinutes = 20;
const ordersAMinute = 10;
const isLost = (minute: number) => minute >= 100 && minute < 340;
const isAway = (minute: number) => minute >= 160 && minute < 280;
const lastMinute = 620;
const database = parseDatabaseUrl("postgres://sampler@localhost/ledger");

/** The orders of these minutes, of which `counts` says yes. While Postgres is away, there are none. */
const ordersOf = (from: number, to: number, counts: (minute: number) => boolean) =>
  Array.from({ length: to - from }, (_, index) => from + index).filter((minute) => counts(minute) && !isAway(minute))
    .length * ordersAMinute;

/** What a sampler pushes in this minute, while the reconciler repairs each order that is 30 minutes old. */
function tickOf(minute: number): Promise<string> {
  const outcomes = checks.map((check) =>
    isAway(minute) ? { check, error: "unknown" } : { check, count: 0, overdue: 0, oldestSeconds: 0 },
  );
  const check = { check: "stuck_orders" };
  const evidence = [
    series(
      blindnessMetric.checkInserts,
      check,
      ordersOf(0, minute, () => true),
    ),
    series(blindnessMetric.nearlyStuck, check, ordersOf(Math.max(0, minute - 30), Math.max(0, minute - 25), isLost)),
  ];
  return exposeSample(
    { outcomes, evidence: isAway(minute) ? [] : evidence, unread: [], acceptance: new Map() },
    { sampledAtSeconds: Date.now() / 1000, durationSeconds: 0, database },
  );
}

it("a person receives one page, and one end of it", { timeout: 300_000 }, async () => {
  const received: { status: string; minute: number }[] = [];
  let startedAt = Date.now();
  const minuteNow = () => (Date.now() - startedAt) / minuteMs;
  const [gateway, pager] = await Promise.all([
    startPushgateway(0),
    startPager((to, { status }) => void (to === "/page" && received.push({ status, minute: minuteNow() }))),
  ]);
  onTestFinished(() => pager.stop());
  onTestFinished(() => gateway.stop());
  const shorter = (yaml: string) => faster(yaml, minuteMs, 1_440, silentMinutes);
  const route = (await readFile("config/alertmanager/alertmanager.yml", "utf8"))
    .replaceAll("127.0.0.1:9999", pager.host)
    .replaceAll("repeat_interval: 1h", "repeat_interval: 1d"); // A reminder is no news.
  const alertmanager = await startAlertmanager(0, shorter(route));
  onTestFinished(() => alertmanager.stop());
  const { groups } = load(await readFile(rulesPath, "utf8")) as { groups: { name: string }[] };
  const money = groups.filter(({ name }) => name === "veza-ledger-money");
  const prometheus = await startPrometheus(0, {
    pushgatewayUrl: gateway.url,
    alertmanagerUrl: alertmanager.url,
    rules: shorter(dump({ groups: money }, { noRefs: true })),
    interval: `${minuteMs}ms`,
  });
  onTestFinished(() => prometheus.stop());
  startedAt = Date.now();
  for (let minute = 0; minute < lastMinute; minute = Math.max(minute + 1, Math.floor(minuteNow()))) {
    await setGroup(gateway.url, "veza_ledger", "prod", [await tickOf(minute)]);
    await sleep(Math.max(0, startedAt + (minute + 1) * minuteMs - Date.now()));
  }
  expect(received.map(({ status }) => status)).toEqual(["firing", "resolved"]);
  const [told, ended] = received.map(({ minute }) => minute);
  expect(told).toBeGreaterThan(125);
  expect(told).toBeLessThan(160);
  expect(ended).toBeGreaterThan(340 + 25);
});
