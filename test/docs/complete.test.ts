// What a change needs and neither TypeScript nor `npm run generate` holds: CONTRIBUTING.md has the common changes.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { alertOf, told } from "../../config/words-of-checks.ts";
import { rulesFile } from "../../generate/rules-of-checks.ts";
import { checks, rowsOf } from "../../lib/counts/checks.ts";
import { outboxLateAfter } from "../../lib/counts/outbox.ts";
import { idsKeptDays, readTimeoutMs, sampleTimeoutMs } from "../../lib/limits.ts";
import { plain } from "../../lib/postgres/own-names.ts";
import { settingNames } from "../../lib/settings/settings.ts";
import { eventSchema } from "../../lib/totals/events.ts";
import { modelOf } from "../helpers/models.ts";
import { shippedAlerts } from "../helpers/rules.ts";

const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");
const textOf = (file: string) => readFile(file, "utf8").catch(() => "");
/** "30 minutes" or "2 hours", in minutes. */
const minutesIn = (interval: string) => Number.parseInt(interval, 10) * (interval.includes("hour") ? 60 : 1);
const rulesText = await textOf("config/alertmanager/ledger.yml");
/** Expects each file to have its text. The message names the files that lack it. */
async function expectIn(places: [file: string, text: string][]): Promise<void> {
  const read = await Promise.all(places.map(async ([file, text]) => [file, text, await textOf(file)] as const));
  const lacking = read.filter(([, text, is]) => !oneLine(is).includes(oneLine(text)));
  const lines = lacking.map(([file, text]) => `${file} lacks: ${text}`);
  expect(lines, lines.join("\n")).toEqual([]);
}

describe.each(checks)("$id has", (check) => {
  const page = `docs/runbook/${alertOf(check)}.md`;

  it.runIf(check.staleAfter)("one threshold, which its help, its alert and its page name as it is", async () => {
    const { staleAfter = "" } = check;
    const [, meaning = ""] = /## What it means\n([\s\S]*?)\n## /.exec(await textOf(page)) ?? [];
    const { means, lost } = told[check.id];
    const texts = {
      "lib/counts/checks.ts, help": check.help,
      "config/words-of-checks.ts": means + lost,
      [page]: meaning,
      "test/helpers/models.ts": `${modelOf(check).staleAfterMinutes} minutes`,
    };
    const others = Object.entries(texts).flatMap(([place, text]) =>
      (oneLine(text).match(/\d+ (?:minutes|hours)/g) ?? [])
        .filter((named) => minutesIn(named) !== minutesIn(staleAfter))
        .map((named) => `${place} says ${named}, and staleAfter is ${staleAfter}`),
    );
    expect(others).toEqual([]);
    expect(check.help).toContain(staleAfter);
  });

  it("a page in docs/runbook that lists and counts the same rows", () => expectIn([[page, plain(rowsOf(check))]]));
});

it("all counts fit into one sample, one after the other", () => {
  const longest = Math.floor(sampleTimeoutMs / checks.length / 100) * 100;
  const advice = `lib/limits.ts: ${checks.length} counts share ${sampleTimeoutMs} ms: set readTimeoutMs to ${longest}`;
  expect(readTimeoutMs, advice).toBeLessThanOrEqual(longest);
});

it("npm run generate writes the checks that page into each matcher of several, and twice the interval of sweeps", async () => {
  const wrong = rulesText.replaceAll(/\b(check[=!]~)"[^"]*"/g, '$1"wrong"').replaceAll(/> 2 \* \d+$/gm, "> 2 * 1");
  expect(wrong.split('"wrong"').length).toBeGreaterThan(5);
  expect(wrong.split("> 2 * 1\n")).toHaveLength(2);
  expect(await rulesFile(wrong)).toBe(await rulesFile(rulesText));
});

it("stuck orders have the threshold that the page of reasons and the Go example name", async () => {
  const check = checks.find(({ id }) => id === "stuck_orders");
  if (!check?.staleAfter) throw new Error("stuck orders have no threshold");
  await expectIn([
    ["docs/runbook/reasons.md", `An order is stuck after ${check.staleAfter} even`],
    ["docs/runbook/reasons.md", `settle it within ${check.overdueAfter}`],
    ["clients/go/example/main.go", plain(rowsOf(check))],
  ]);
});

it.each([...new Set((await shippedAlerts()).map(({ alert }) => alert))])("%s has its page and its rows", (alert) =>
  expectIn([
    [`docs/runbook/${alert}.md`, `# ${alert}`],
    ["docs/runbook/README.md", `[${alert}](${alert}.md)`],
    ["docs/alerts.md", `| [${alert}](runbook/${alert}.md) |`],
  ]),
);

it("docs/alerts.md names the severities of each alert's rules", async () => {
  const page = await textOf("docs/alerts.md");
  const named = [...page.matchAll(/^\| \[(\w+)\].* \| ([^|]+) \|$/gm)].flatMap(([, alert, severities = ""]) =>
    severities.split(", ").map((severity) => `${alert}: ${severity}`),
  );
  const shipped = new Set((await shippedAlerts()).map(({ alert, labels }) => `${alert}: ${labels.severity}`));
  expect(named.sort()).toEqual([...shipped].sort());
});

it("README.md names for each check a severity that its alert has", async () => {
  const rows = [
    ...(await textOf("README.md")).matchAll(/^\| `veza_\w+` .*\| \[(\w+)\]\(docs\/runbook\/(\w+)\.md\) \|$/gm),
  ];
  const named = rows.map(([, severity, alert]) => `${alert}: ${severity}`);
  const shipped = (await shippedAlerts()).map(({ alert, labels }) => `${alert}: ${labels.severity}`);
  expect(named).toHaveLength(checks.length);
  expect(named.filter((each) => !shipped.includes(each))).toEqual([]);
});

it.each(eventSchema.options)(
  "$entries.type.literal is in the page and in the client, with its fields",
  ({ entries }) => {
    const type = entries.type.literal;
    const fields = "data" in entries ? Object.keys(entries.data.entries) : [];
    return expectIn([
      ["docs/events.md", `\`${type}\` |`],
      ["docs/events.md", `{ "type": "${type}", "timestamp"`],
      ["clients/go/ledgermetrics/event.go", `kind: "${type}"`],
      ...fields.map((field): [string, string] => ["clients/go/ledgermetrics/event.go", `{"${field}":`]),
    ]);
  },
);

it("the Go client keeps sent rows for as long as the receiver knows their ids, and sends no older one again", () =>
  expectIn([
    ["clients/go/ledgermetrics/purge.go", `interval '${idsKeptDays} days'`],
    ["clients/go/ledgermetrics/resend.go", `first_sent_at > now() - interval '${idsKeptDays - 1} days'`],
  ]));

it("a delivery is late after as long as the rule, the panel and the documents say", () =>
  expectIn([
    ["config/alertmanager/ledger.yml", `Late ones have waited for ${outboxLateAfter}`],
    ["config/alertmanager/ledger.yml", `The oldest has waited for over ${outboxLateAfter}`],
    ["config/grafana/rows/evidence.ts", `over ${outboxLateAfter}`],
    ["docs/metrics.md", `\`late\` by over ${outboxLateAfter}`],
    ["docs/alerts.md", `waits for over ${outboxLateAfter.replace("utes", "")}`],
    ["docs/runbook/VezaLedgerOutboxStuck.md", `over ${outboxLateAfter}`],
  ]));

it("docs/settings.md has each setting", () =>
  expectIn(["SECRET_ID", "PORT", "HOST", ...settingNames].map((name) => ["docs/settings.md", `\`${name}\``])));
