import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { dump, load } from "js-yaml";
import { findBy, sources } from "../local/find-program.ts";

// What the simulations of shops share: the shipped rules on Prometheus' own promtool.

export const minutesADay = 1_440;

/** A day in which most orders come at 15:00, and few at night: orders at this hour against the mean. */
export const byDay = (_: number, hour: number): number => 1 - 0.9 * Math.cos((2 * Math.PI * (hour - 3)) / 24);

/** How many events of a Poisson process there are. */
export function randomCount(mean: number, random: () => number): number {
  let count = 0;
  for (let chance = random(); chance > Math.exp(-mean); chance *= random()) count += 1;
  return count;
}

/** Of a duration as Prometheus writes it. */
export function minutesOf(duration: string): number {
  const parts = duration.matchAll(/(\d+)([wdhms])/g);
  const lengths: Record<string, number> = { w: 10_080, d: minutesADay, h: 60, m: 1, s: 1 / 60 };
  return [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * (lengths[unit ?? ""] ?? 0), 0);
}

/** Values minute by minute, in promtool's notation, each run of equal steps together. */
export function notation(values: (number | undefined)[]): string {
  const runs: { value: number | undefined; step: number | undefined; times: number }[] = [];
  for (const value of values) {
    const run = runs.at(-1);
    const step = run?.value === undefined || value === undefined ? undefined : value - run.value;
    const isNext = run && (run.value === undefined) === (value === undefined) && [undefined, step].includes(run.step);
    if (isNext) Object.assign(run, { value, step, times: run.times + 1 });
    else runs.push({ value, step: undefined, times: 1 });
  }
  return runs
    .map(({ value, step = 0, times }) => {
      if (value === undefined) return `_x${times}`;
      return `${value - step * (times - 1)}${step < 0 ? "-" : "+"}${Math.abs(step)}x${times - 1}`;
    })
    .join(" ");
}

export interface RuleGroup {
  name: string;
  rules: { record?: string; alert?: string; expr: string }[];
}

/**
 * The rules about stuck orders. For what was known last, they look back for so long, and not for a day, where nothing
 * is unknown for longer.
 */
export const ofStuckOrders = (shipped: RuleGroup[], back = "10m"): RuleGroup[] =>
  shipped.map(({ rules, ...group }) => ({
    ...group,
    rules: rules
      .filter(({ record = "", alert = "" }) => /:nearly_stuck:|:usual:|:late:|StuckOrders/.test(record + alert))
      .map((rule) => ({ ...rule, expr: rule.expr.replaceAll("[1d:1m]", `[${back}:1m]`) })),
  }));

interface Series {
  series: string;
  values: string;
}

/** What is usual for stuck orders in a stage where nobody leaves while paying: its two weeks before are not played. */
export const nobodyLeaves = (stage: string, minutes: number): Series => ({
  series: `veza_ledger:usual:share{stage="${stage}", check="stuck_orders"}`,
  values: `0.01x${minutes}`,
});

interface Played {
  series: Series[];
  /** What of the shipped rules is loaded. */
  groups: (shipped: RuleGroup[]) => RuleGroup[];
  interval: string;
  /** Asks this at each of these times. */
  expr: string;
  looks: string[];
}

/** What promtool answers, look by look: it prints what it has not expected. No rule records what a series gives. */
export async function play({
  series,
  groups,
  interval,
  expr,
  looks,
}: Played): Promise<{ time: string; got: string }[]> {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-shops-"));
  try {
    const rules = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as { groups: RuleGroup[] };
    const isGiven = ({ record }: RuleGroup["rules"][number]) =>
      record !== undefined && series.some(({ series }) => series.startsWith(`${record}{`));
    const played = groups(rules.groups).map(({ rules, ...group }) => ({
      ...group,
      rules: rules.filter((rule) => !isGiven(rule)),
    }));
    await writeFile(path.join(folder, "ledger.yml"), dump({ groups: played }));
    const test = {
      interval: "1m",
      input_series: series,
      promql_expr_test: looks.map((eval_time) => ({ expr, eval_time, exp_samples: [] })),
    };
    const file = { rule_files: ["ledger.yml"], evaluation_interval: interval, tests: [test] };
    await writeFile(path.join(folder, "tests.yml"), JSON.stringify(file));
    const program = (await findBy(sources.promtool)).file;
    // Its garbage is collected less often: a tenth of the time.
    const options = { cwd: folder, maxBuffer: 2 ** 30, env: { ...process.env, GOGC: "400" } };
    const { stdout, stderr } = await promisify(execFile)(program, ["test", "rules", "tests.yml"], options).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    const answers: { time: string; got: string }[] = [];
    let time = "";
    for (const line of `${stdout}\n${stderr}`.split("\n")) {
      time = /time: (\S+),$/.exec(line)?.[1] ?? time;
      if (line.includes("got:")) answers.push({ time, got: line });
    }
    if (answers.length === 0 && !stdout.includes("SUCCESS")) throw new Error(stderr || stdout);
    return answers;
  } finally {
    await rm(folder, { recursive: true });
  }
}
