// Each number that pages are made from is unknown for two hours, in turn: no page ends by it, and none begins. By
// Prometheus' own promtool. lost-webhooks.test.ts does the same to the pages about lost webhooks.
import { expect, it } from "vitest";
import { minutesOf, notation, play, type RuleGroup } from "../../bench/promtool.ts";
import { alertOf } from "../../config/words-of-checks.ts";
import { blindnessMetric } from "../../lib/counts/blindness.ts";
import { checks } from "../../lib/counts/checks.ts";
import { checkSuccessMetric, openAgeMetric, overdueMetric } from "../../lib/counts/counting.ts";
import { sampleTimestampMetric } from "../../lib/counts/sample.ts";
import { reconcilerMetric } from "../../lib/totals/events.ts";
import { isAlert, shippedAlerts } from "../helpers/rules.ts";

interface Story {
  /** The pages that are played, and those that fire where they are open, from this minute on. */
  pages: string[];
  open: string[];
  openFrom: number;
  minutes: number;
  unknownFrom: number;
  /** How often the rules are evaluated and looked at, in minutes. */
  every: number;
  /** What the gateway shows minute by minute: all is well. */
  well: Record<string, (minute: number) => number>;
  /** What it shows instead while the pages are open. */
  stuck: Record<string, (minute: number) => number>;
  rulesOf?: (expr: string) => string;
}

const unknownMinutes = 120;
const orders = '{check="stuck_orders"}';
const refunds = '{check="stuck_refunds"}';
const orphans = '{check="orphan_refunds"}';

const hours: Story = {
  pages: ["StuckOrders", "OrphanRefunds", "SamplerSilent", "CheckFailing"],
  open: ["CheckFailing", "OrphanRefunds", "StuckOrders"],
  openFrom: 100,
  minutes: 330,
  unknownFrom: 120,
  every: 5,
  well: {
    [sampleTimestampMetric]: (minute) => 60 * minute,
    [overdueMetric + orders]: () => 0,
    [checkSuccessMetric + orphans]: () => 1,
    [blindnessMetric.nearlyStuck + orders]: () => 0,
    [blindnessMetric.checkInserts + orders]: (minute) => minute,
    [reconcilerMetric.orphanRefunds]: () => 7,
  },
  stuck: {
    [overdueMetric + orders]: (minute) => (minute > 60 ? 3 : 0),
    [checkSuccessMetric + orphans]: (minute) => (minute > 60 ? 0 : 1),
    [reconcilerMetric.orphanRefunds]: (minute) => Math.floor(minute / 10),
  },
  // Nothing is unknown for longer. promtool reads 10,000 samples at most for an expression.
  rulesOf: (expr) => expr.replaceAll(/\[1d:(?=1m|30s|5m)/g, `[${unknownMinutes + 30}m:`),
};

const days: Story = {
  pages: ["RowsTooOld"],
  open: ["RowsTooOld"],
  openFrom: 25 * 60,
  minutes: 33 * 60,
  unknownFrom: 5 * 60,
  every: 30,
  well: { [overdueMetric + refunds]: () => 2, [openAgeMetric + refunds]: () => 3_600 },
  stuck: { [openAgeMetric + refunds]: (minute) => 60 * minute },
};

/** At how many looks each page fires, as `page stage`, of the looks from `openFrom` on. */
async function playStory({ pages, openFrom, minutes, unknownFrom, every, well, stuck, rulesOf = String }: Story) {
  const isUnknown = (minute: number) => minute >= unknownFrom && minute < unknownFrom + unknownMinutes;
  const stageOf = (shown: string, unknown: string) => `${shown}, without ${unknown.replaceAll('"', "'")}`;
  const series = Object.entries({ well, stuck: { ...well, ...stuck } }).flatMap(([shown, values]) =>
    [...Object.keys(well), "nothing"].flatMap((unknown) =>
      Object.entries(values).map(([name, shownAt]) => {
        const [metric = "", check = ""] = name.split(/\{(.*)\}/);
        const job = metric.startsWith("veza_reconciler") ? "veza_reconciler" : "veza_ledger";
        const labels = [check, `job="${job}"`, `stage="${stageOf(shown, unknown)}"`].filter(Boolean).join(", ");
        const at = (minute: number) => (name === unknown && isUnknown(minute) ? undefined : shownAt(minute));
        return { series: `${metric}{${labels}}`, values: notation(Array.from({ length: minutes }, (_, m) => at(m))) };
      }),
    ),
  );
  const isPlayed = (rule: object) =>
    !isAlert(rule) || (rule.labels.severity === "page" && pages.includes(rule.alert.replace("VezaLedger", "")));
  const groups = (shipped: RuleGroup[]) =>
    shipped
      .map(({ rules, ...group }) => ({ ...group, rules: rules.filter(isPlayed) }))
      .filter(({ rules }) => rules.some(isAlert))
      .map(({ rules, ...group }) => ({ ...group, rules: rules.map((one) => ({ ...one, expr: rulesOf(one.expr) })) }));
  const looks = Array.from({ length: (minutes - openFrom) / every }, (_, index) => `${openFrom + index * every}m`);
  const expr = 'count by (alertname, stage) (ALERTS{alertstate="firing"})';
  const fired: Record<string, number[]> = {};
  for (const { time, got } of await play({ series, groups, interval: `${every}m`, expr, looks })) {
    for (const [, page, stage] of got.matchAll(/alertname=\\?"VezaLedger(\w+)\\?", stage=\\?"(.+?)\\?"\}/g)) {
      const name = `${page}: ${stage}`;
      fired[name] = [...(fired[name] ?? []), minutesOf(time)];
    }
  }
  return { fired, looks: looks.map(minutesOf), stageOf };
}

it.each([
  { title: "hours", story: hours },
  { title: "a day", story: days },
])("an unknown number ends no page and begins none, of those that take $title", async ({ story }) => {
  const { fired, looks, stageOf } = await playStory(story);
  const always = story.open.flatMap((page) =>
    [...Object.keys(story.well), "nothing"].map((unknown) => [`${page}: ${stageOf("stuck", unknown)}`, looks]),
  );
  // Without a tick's time, the sampler is silent.
  const silent = ["well", "stuck"].map((shown) => `SamplerSilent: ${stageOf(shown, sampleTimestampMetric)}`);
  for (const name of silent) delete fired[name];
  expect(fired).toEqual(Object.fromEntries(always));
});

it("every page is played, here or with lost webhooks", async () => {
  const shipped = (await shippedAlerts()).filter(({ labels }) => labels.severity === "page");
  // The alerts of checks are generated alike, but for the orphans': one is played.
  const alike = checks.filter(({ id }) => id !== "stuck_orders" && id !== "orphan_refunds").map(alertOf);
  const different = shipped.filter(({ alert }) => !alike.includes(alert));
  const names = new Set(different.map(({ alert }) => alert.replace("VezaLedger", "")));
  expect([...names].sort()).toEqual([...hours.pages, ...days.pages].sort());
});
