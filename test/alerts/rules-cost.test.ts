// What the rules cost a Prometheus: the samples that they read.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { checks } from "../../lib/counts/checks.ts";
import { phases } from "../../lib/totals/events.ts";
import { freePort } from "../../local/ports.ts";
import { startServer } from "../../local/programs.ts";
import { findProgram } from "../helpers/find-program.ts";
import { ask } from "../helpers/monitoring.ts";
import { shippedGroups } from "../helpers/rules.ts";

const scrapeSeconds = 15;
/** How often the rules of the group veza-ledger-blind are evaluated, and record. */
const blindSeconds = 300;
const daySeconds = 86_400;
const ofWebhooks = checks.filter(({ waitsForWebhook }) => waitsForWebhook);
/**
 * Per stage and evaluation: for each check, of the groups that are evaluated each time; and for each check that watches
 * inserts, of the group that is evaluated every 5 minutes.
 */
const maxSamples = { often: 9_000, blind: 7_000 };

it("the rules read no more samples than they may for each check, of one stage with days of scrapes", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-cost-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const now = Math.floor(Date.now() / 1000);
  const [promtool, prometheus] = await Promise.all([findProgram("promtool"), findProgram("prometheus")]);
  const groups = await shippedGroups();
  await writeFile(path.join(folder, "history.txt"), history(now, groups));
  const toBlocks = [
    "tsdb",
    "create-blocks-from",
    "--max-block-duration=720h", // Hidden in its help. It reads the whole file once for each block.
    "openmetrics",
    path.join(folder, "history.txt"),
    path.join(folder, "data"),
  ];
  await promisify(execFile)(promtool.file, toBlocks, { maxBuffer: 64 * 1024 * 1024 });
  await writeFile(path.join(folder, "prometheus.yml"), "global: {}\n");

  const port = await freePort(0);
  const args = [
    `--web.listen-address=127.0.0.1:${port}`,
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    ...(prometheus.root ? [`--web.local-assets=${prometheus.root}/usr/share/prometheus/web`] : []),
  ];
  const { url, stop } = await startServer(prometheus.file, args, `http://127.0.0.1:${port}`, "/-/ready", {});
  onTestFinished(() => stop());

  type Stats = { stats: { samples: { totalQueryableSamples: number } } };
  const samples = async (query: string) => {
    const { stats } = await ask<Stats>(url, "query", { query, time: String(now), stats: "all" });
    return stats.samples.totalQueryableSamples;
  };
  const costs = { often: 0, blind: 0 };
  for (const { name, rules } of groups) {
    const of = await Promise.all(rules.map(({ expr }) => samples(expr)));
    costs[name === "veza-ledger-blind" ? "blind" : "often"] += of.reduce((sum, cost) => sum + cost, 0);
  }
  for (const when of ["often", "blind"] as const) {
    const perCheck = costs[when] / (when === "often" ? checks : ofWebhooks).length;
    expect(perCheck, when).toBeGreaterThan(maxSamples[when] / 2); // There is something to read.
    expect(perCheck, when).toBeLessThan(maxSamples[when]);
  }
});

/** The labels of the series of a metric that the rules read, of one stage. */
function seriesOf(name: string): string[] {
  const each = (label: string, values: readonly string[]) => values.map((value) => `,${label}="${value}"`);
  const ids = checks.map(({ id }) => id);
  const labels: [of: RegExp, labels: string[]][] = [
    [/rows_outside/, ids.flatMap((id) => each("reason", ["no_time", "ahead"]).map((more) => `,check="${id}"${more}`))],
    [/check_inserts|check_watches|:check_inserted|nearly_stuck|:late:/, ofWebhooks.map(({ id }) => `,check="${id}"`)],
    [/table_insert/, each("table", [...new Set(checks.map(({ table }) => table))])],
    [/outbox_rows/, each("state", ["waiting", "late", "parked"])],
    [/actions_total/, each("phase", phases)],
    [/check|overdue|open_age|evidence|accepted/, each("check", ids)],
  ];
  const [, found = [""]] = labels.find(([of]) => of.test(name)) ?? [];
  const [job = "veza_ledger"] = /^veza_(?:ledger|reconciler)/.exec(name) ?? [];
  return found.map((more) => `job="${job}",stage="prod"${more}`);
}

/** What a Prometheus has scraped and recorded in the days before, of one stage on which nothing changes. */
function history(now: number, groups: Awaited<ReturnType<typeof shippedGroups>>): string {
  const read = groups.flatMap(({ rules }) =>
    rules.flatMap(({ expr }) => expr.match(/\b(veza_(ledger|reconciler)[_:])[\w:]*/g) ?? []),
  );
  const blind = groups.find(({ name }) => name === "veza-ledger-blind")?.rules ?? [];
  const recordedByBlind = new Set(blind.flatMap((rule) => ("record" in rule ? [rule.record] : [])));
  const lines: string[] = [];
  for (const name of new Set(read)) {
    const everySeconds = recordedByBlind.has(name) ? blindSeconds : scrapeSeconds;
    lines.push(`# TYPE ${name} unknown`);
    const lengthSeconds = recordedByBlind.has(name) ? 8 * daySeconds : daySeconds;
    for (const labels of seriesOf(name)) {
      for (let time = now - lengthSeconds; time <= now; time += everySeconds) {
        lines.push(`${name}{${labels}} 1 ${time}`);
      }
    }
  }
  return `${lines.join("\n")}\n# EOF\n`;
}
