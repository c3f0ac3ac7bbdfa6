// Incidents minute by minute, with all rules at once, on promtool: which alerts begin, and which end. alerts.yml has what
// each rule does. Here is what they do to each other; notifications.test.ts has what the route makes of it.
import { execFileSync } from "node:child_process";
import { beforeAll, expect, it } from "vitest";
import { minutesOf, notation, play } from "../../bench/promtool.ts";
import { type CheckId, checks } from "../../lib/counts/checks.ts";
import { findBy, sources } from "../../local/find-program.ts";

const lastMinute = 95;
const promtool = (await findBy(sources.promtool)).file;
/** Since Prometheus 3, a range leaves out the instant at which it begins: here, a minute. */
const leftOutMinutes = /version 2\./.test(execFileSync(promtool, ["--version"]).toString()) ? 0 : 1;

/** What one stage's functions push in a minute. By default all is well: no row, all answers, a sweep every 5 minutes. */
interface Minute {
  overdue?: Partial<Record<CheckId, number>>;
  /** The checks that have no answer. */
  failing?: readonly CheckId[];
  lastSweep?: number;
  /** The sampler pushes nothing; or the gateway has lost everything, too. */
  away?: "silent" | "wiped";
}

interface Incident {
  stage: string;
  title: string;
  at: (minute: number) => Minute;
  /** Each line of alerts that begins or ends, and when. */
  tells: string[];
}

const during = (minute: number, from: number, to: number) => minute >= from && minute < to;

const incidents: Incident[] = [
  { stage: "well", title: "all is well", at: () => ({}), tells: [] },
  {
    stage: "webhooks_lost",
    title: "orders get stuck, one of two ticks has no answer, and a reconciler repairs them in the end",
    at: (minute) => ({
      overdue: { stuck_orders: during(minute, 5, 35) ? 35 - minute : 0 },
      failing: minute % 2 === 0 ? ["stuck_orders"] : [],
    }),
    tells: ["7 page StuckOrders begins", "50 page StuckOrders ends"],
  },
  {
    stage: "postgres_down",
    title: "Postgres is down: no count, and no sweep that could be recorded",
    at: (minute) => ({
      failing: during(minute, 10, 50) ? checks.map(({ id }) => id) : [],
      ...(during(minute, 10, 50) && { lastSweep: 10 }),
    }),
    tells: [
      "25 page CheckFailing begins",
      "26 ticket ReconcilerDead begins",
      "80 ticket ReconcilerDead ends",
      `${82 - leftOutMinutes} page CheckFailing ends`,
    ],
  },
  {
    stage: "gateway_gone",
    title: "the gateway is gone while orders are stuck",
    at: (minute) => ({
      overdue: { stuck_orders: during(minute, 5, 45) ? 3 : 0 },
      ...(during(minute, 10, 40) && { away: "wiped" }),
    }),
    tells: [
      "7 page StuckOrders begins",
      "15 page SamplerSilent begins",
      "50 page SamplerSilent ends",
      "60 page StuckOrders ends",
    ],
  },
  {
    stage: "sampler_dead",
    title: "the sampler is dead, beside a gateway that shows the last counts",
    at: (minute) => (minute < 10 ? {} : { away: "silent" }),
    tells: ["15 page SamplerSilent begins"],
  },
];

/** What both functions push, by series. */
function pushed(minute: number, { overdue = {}, failing = [], lastSweep = minute - (minute % 5) }: Minute) {
  const ofChecks = checks.flatMap(({ id }): [string, number | undefined][] => [
    [`veza_ledger_overdue_rows{check="${id}"}`, failing.includes(id) ? undefined : (overdue[id] ?? 0)],
    [`veza_ledger_oldest_open_age_seconds{check="${id}"}`, overdue[id] ? (minute - 5) * 60 : 0],
    [`veza_ledger_check_success{check="${id}"}`, failing.includes(id) ? 0 : 1],
    [`veza_ledger_evidence_success{check="${id}"}`, failing.includes(id) ? 0 : 1],
  ]);
  return new Map<string, number | undefined>([
    ["veza_ledger_sample_timestamp_seconds{}", minute * 60],
    ['veza_ledger_sampler_info{region="eu",database="a@1"}', 1],
    ...ofChecks,
    ['veza_ledger_check_inserts{check="stuck_orders"}', minute],
    ['veza_ledger_nearly_stuck_rows{check="stuck_orders"}', 0],
    ["veza_reconciler_last_run_timestamp{}", lastSweep * 60],
    ["veza_reconciler_orphan_refunds_total{}", 7],
    ['veza_reconciler_actions_total{phase="stuck_orders"}', 7],
    ["veza_reconciler_counters_held{}", 0],
  ]);
}

/** What a gateway shows of an incident, minute by minute. */
function seriesOf({ stage, at }: Incident) {
  let shown = pushed(0, {});
  const minutes = Array.from({ length: lastMinute + 1 }, (_, minute) => {
    const state = at(minute);
    if (state.away !== "silent") shown = state.away ? new Map() : pushed(minute, state);
    return shown;
  });
  return [...pushed(0, {}).keys()].map((name) => ({
    series: name.replace("{", `{job="${name.slice(0, name.indexOf("_", 5))}",stage="${stage}",`).replace(",}", "}"),
    values: notation(minutes.map((one) => one.get(name))),
  }));
}

/** What begins and ends, by stage: an alert of several checks begins with the first of them, and once more with each. */
const told: Record<string, string[]> = {};

beforeAll(async () => {
  const answers = await play({
    series: incidents.flatMap(seriesOf),
    groups: (shipped) => shipped,
    interval: "1m",
    expr: 'count by (stage, severity, alertname) (ALERTS{alertstate="firing", severity!="none"})',
    looks: Array.from({ length: lastMinute + 1 }, (_, minute) => `${minute}m`),
  });
  const got = new Map(answers.map((answer) => [minutesOf(answer.time), answer.got]));
  let before: Record<string, number> = {};
  for (let minute = 0; minute <= lastMinute; minute += 1) {
    const counted = (got.get(minute) ?? "").matchAll(
      /alertname=\\?"VezaLedger(\w+)\\?", severity=\\?"(\w+)\\?", stage=\\?"(\w+)\\?"\} ([\d.E+]+)/g,
    );
    const now = Object.fromEntries(
      [...counted].map(([, alert, severity, stage, count]) => [`${stage} ${severity} ${alert}`, Number(count)]),
    );
    for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
      const [stage = "", ...alert] = key.split(" ");
      told[stage] ??= [];
      if ((now[key] ?? 0) > (before[key] ?? 0)) told[stage].push(`${minute} ${alert.join(" ")} begins`);
      if (!now[key]) told[stage].push(`${minute} ${alert.join(" ")} ends`);
    }
    before = now;
  }
});

it.each(incidents)("tells of one incident once, when $title", ({ stage, tells }) => {
  expect(told[stage] ?? []).toEqual(tells);
});
