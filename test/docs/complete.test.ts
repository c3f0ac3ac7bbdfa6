// What a change needs and neither TypeScript nor `npm run generate` holds: CONTRIBUTING.md has the common changes.
import { execFile } from "node:child_process";
import { glob, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { columnsOf, grantedColumnsOf, ledgerRights, tables } from "../../commands/declared-rights.ts";
import { alertOf, isPage, isRepaired, told } from "../../config/words-of-checks.ts";
import { rulesFile } from "../../generate/rules-of-checks.ts";
import { checks, nearlyStuckAfter, rowsOf, sweeps } from "../../lib/counts/checks.ts";
import { minutesIn } from "../../lib/counts/interval.ts";
import { outboxLateAfter } from "../../lib/counts/outbox.ts";
import { settingNames } from "../../lib/settings/settings.ts";
import { eventSchema, phases, reconcilerFamilies, zeros } from "../../lib/totals/events.ts";
import { modelOf, providerIds } from "../helpers/models.ts";
import { expectIn, oneLine } from "../helpers/pages.ts";
import { shippedAlerts } from "../helpers/rules.ts";

const textOf = (file: string) => readFile(file, "utf8").catch(() => "");
/** Intervals that a text names, such as "30 minutes" or "2 hours 10 minutes". */
const anInterval = /\d+ (?:minute|hour|day)s?(?: \d+ (?:minute|hour|day)s?)*/;
/** When the rules about lost webhooks fire, as the reference says. */
const isLate = (table: string, stuckAfter: string) =>
  `, or over 3 ${table} of an hour, over a fifth of all, and more than [is usual](#what-is-usual) have waited ` +
  `${nearlyStuckAfter(stuckAfter)} for their webhook. In a small shop, over 3 in 6 hours`;
const isLostSlowly = (table: string) =>
  `. A ticket: over 3 ${table} of a day, over 5 %, and more than is usual, where no hour was told`;
const rulesText = await textOf("config/alertmanager/ledger.yml");
describe.each(checks)("$id has", (check) => {
  const page = `docs/runbook/${alertOf(check)}.md`;

  it.runIf(check.stuckAfter)("no text by hand with another threshold", async () => {
    const { id, stuckAfter, overdueAfter } = check;
    const text = await textOf(page);
    const [, meaning = ""] = text.split("\n\n");
    const texts = { "config/words-of-checks.ts": told[id].means + told[id].lost, [page]: meaning };
    const others = Object.entries(texts).flatMap(([place, text]) =>
      (oneLine(text).match(new RegExp(anInterval, "g")) ?? [])
        .filter((named) => minutesIn(named) !== minutesIn(stuckAfter))
        .map((named) => `${place} says ${named}, and stuckAfter is ${stuckAfter}`),
    );
    const ages = [...oneLine(text).matchAll(new RegExp(`\\b(?:over|under|at) (${anInterval.source})`, "g"))];
    for (const [, age] of ages) {
      if ([stuckAfter, overdueAfter].some((known) => minutesIn(known) === minutesIn(age))) continue;
      others.push(`${page} says ${age}; stuckAfter is ${stuckAfter}, and overdueAfter ${overdueAfter}`);
    }
    expect(others, others.join("\n")).toEqual([]);
  });

  it.runIf(check.overdueAfter)("an alert that names its overdueAfter", async () => {
    const { overdueAfter = "" } = check;
    const rules = (await shippedAlerts()).filter(({ alert }) => alert === alertOf(check));
    const texts = rules.map(({ annotations: { summary, description } }) => oneLine(`${summary} ${description}`));
    const advice = `config/alertmanager/ledger.yml: no text of ${alertOf(check)} says ${overdueAfter}`;
    expect(
      texts.some((text) => text.includes(overdueAfter)),
      advice,
    ).toBe(true);
  });

  it.runIf(modelOf(check).hasProviderId)("the id at the provider in the list of its rows", () => {
    const providerId = providerIds[modelOf(check).table] ?? "";
    const advice = `config/words-of-checks.ts: ${check.id} needs shows: { ${providerId}: "text" }`;
    expect(told[check.id].shows?.[providerId], advice).toBe("text");
  });

  it("a page in docs/runbook that names it", () => expectIn([[page, check.id]]));

  it("its rows in the documents", () => {
    const { id, metric, help, table, stuckAfter = "", overdueAfter, waitsForWebhook } = check;
    const { lost, severity } = told[id];
    const alert = alertOf(check);
    const fires = `a row of \`${id}\` ${overdueAfter ? `is over ${overdueAfter} old` : "counts"}`;
    const slow = waitsForWebhook && isPage(check) ? isLostSlowly(table) : "";
    const late = waitsForWebhook ? isLate(table, stuckAfter) + slow : "";
    const severities = slow ? `${severity}, ticket` : severity;
    return expectIn([
      ["README.md", `| \`${metric}\` | ${help}. | ${lost} | [${severity}](docs/runbook/${alert}.md) |`],
      ["docs/reference.md", `| \`${metric}\` | ${help}. |`],
      // Rows that the reconciler repairs fire in other ways, too.
      [
        "docs/reference.md",
        `| [${alert}](runbook/${alert}.md) | ${fires}${late}${isRepaired(check) && !late ? "" : ` | ${severities} |`}`,
      ],
    ]);
  });
});

it("the texts about customers who leave while paying, the measurements and the Go example name stuck orders' threshold", () => {
  const check = checks.find(({ id }) => id === "stuck_orders");
  const { stuckAfter = "", overdueAfter = "" } = check ?? {};
  const nearly = nearlyStuckAfter(stuckAfter);
  const reasons = [
    `An order is stuck after ${stuckAfter}`,
    `settle it within ${overdueAfter}**`,
    `many orders waited for ${nearly}`,
    `clock is slow** by ${overdueAfter}`,
  ];
  const firstDay = [
    `one pages when it is ${overdueAfter} old`,
    `before they are ${overdueAfter} old`,
    `orders wait for ${nearly}`,
    `Orders pending for over ${stuckAfter} although`,
  ];
  // With casts: an application's search_path may lead to operators of others.
  const cast =
    check &&
    rowsOf(check)
      .replace("ledger.", "")
      .replaceAll(/ (=|<>) '/g, "::text $1 '");
  return expectIn([
    ...reasons.map((text): [string, string] => ["docs/runbook/reasons.md", text]),
    ...firstDay.map((text): [string, string] => ["docs/first-day.md", text]),
    ["docs/performance.md", `waited for ${stuckAfter}, which is when a shop can first know`],
    ["clients/go/example/main.go", cast?.replace(" < now", "::timestamptz < now") ?? "stuck_orders"],
  ]);
});

describe.each(tables)("%s has", (table) => {
  it("a table in the demo's ledger, with the columns that are read", async () => {
    const [, made = ""] =
      new RegExp(`^create table ${table} \\(\n([\\s\\S]*?)^\\);`, "m").exec(await textOf("local/ledger.sql")) ?? [];
    const needed = new Set(ledgerRights.filter((right) => right.table === table).flatMap((right) => right.columns));
    const lacking = [...needed].filter((column) => !new RegExp(`^  ${column} `, "m").test(made));
    const advice = `local/ledger.sql: create table ${table} with ${lacking.join(", ")}. A ledger that has other names gives them by a view.`;
    expect(lacking, advice).toEqual([]);
  });

  it("its view in docs/what-counts.md", () => {
    const columns = grantedColumnsOf(table).filter((column) => !column.endsWith("_at"));
    const list = [...columns, "created_at", "updated_at"].join(", ");
    return expectIn([
      ["docs/what-counts.md", `create view veza_ledger_views.${table} as select ${list} from public.${table};`],
    ]);
  });

  it("its columns in the README", () => {
    const columns = columnsOf(table).map((column) => `\`${column}\``);
    return expectIn([["README.md", `- \`${table}\` with ${new Intl.ListFormat("en-GB").format(columns)}`]]);
  });
});

it("docs/amounts.md takes back the rights to each table", () => {
  const named = tables.map((name) => `public.${name}`).join(", ");
  return expectIn([["docs/amounts.md", `revoke all on ${named} from veza_ledger_amounts;`]]);
});

it("no document says in words how many checks or tables there are: a new check would make it false", async () => {
  const files = ["README.md", "SECURITY.md", "CONTRIBUTING.md", ...(await Array.fromAsync(glob("docs/**/*.md")))];
  const texts = await Promise.all(files.map(async (file) => [file, oneLine(await textOf(file))] as const));
  const counted = /\b(?:three|four|five|six|seven|eight) (?:checks|counts|gauges|(?:of the )?ledger's tables)\b/gi;
  const named = texts.flatMap(([file, text]) => (text.match(counted) ?? []).map((words) => `${file}: ${words}`));
  expect(named, named.join("\n")).toEqual([]);
});

it("docs/add-a-check.diff applies to the project as it is, unless somebody tries it here", async () => {
  const problemOf = async (...options: string[]): Promise<string> => {
    const check = ["apply", "--check", ...options, "docs/add-a-check.diff"];
    return (await promisify(execFile)("git", check).catch((error) => error)).stderr;
  };
  const problem = await problemOf();
  const isTried = problem !== "" && (await problemOf("--reverse")) === "";
  const advice = "docs/add-a-check.diff no longer applies: docs/add-a-check.md says at its end how to mend it";
  expect(isTried ? "" : problem, advice).toBe("");
});

it("the documents have the phases of the reconciler, and what each of its metrics is", () => {
  const named = new Intl.ListFormat("en-GB", { type: "disjunction" }).format(phases.map((phase) => `\`${phase}\``));
  const rows = reconcilerFamilies.map(({ name, help }): [string, string] => {
    const hasPhase = zeros.some((zero) => zero.name === name && "phase" in zero.labels);
    const [labels, phasesIfAny] = hasPhase ? ["{phase}", `: ${named}.`] : ["", "."];
    return ["docs/reference.md", `| \`${name}${labels}\` | ${help.replace(/\.$/, phasesIfAny)} |`];
  });
  return expectIn([["docs/events.md", `| a row was repaired; \`phase\` is ${named} |`], ...rows]);
});

it("npm run generate writes names of checks, and twice the interval of sweeps, into its marks and nowhere else", async () => {
  const wrong = rulesText.replaceAll(/\b(check[=!]~)"[^"]*"/g, '$1"wrong"').replaceAll(/> 2 \* \d+$/gm, "> 2 * 1");
  expect(wrong.split('"wrong"').length).toBeGreaterThan(5);
  expect(wrong.split("> 2 * 1\n")).toHaveLength(3);
  expect(await rulesFile(wrong)).toBe(rulesText);
  const byHand = `${rulesText}      - { alert: ByHand, expr: 'veza_ledger_overdue_rows{check=~"stuck_refunds|other"} > 2 * 7' }\n`;
  expect(await rulesFile(byHand)).toBe(byHand);
});

it("a reconciler that sweeps less often than every 10 minutes is refused, and patience follows from its period", () => {
  expect([sweeps(2, 10), sweeps(2, 5), sweeps(1, 5)].map(minutesIn)).toEqual([20, 10, 5]);
  expect(() => sweeps(2, 15)).toThrow(/^sweepMinutes is 15, and may be 10 at most: .* 30 minutes late/);
});

it.each([...new Set((await shippedAlerts()).map(({ alert }) => alert))])("%s has its page and its rows", (alert) =>
  expectIn([
    [`docs/runbook/${alert}.md`, `# ${alert}`],
    ["docs/reference.md", `| [${alert}](runbook/${alert}.md) |`],
  ]),
);

it("docs/reference.md names the severities of each alert's rules", async () => {
  const page = await textOf("docs/reference.md");
  const named = [...page.matchAll(/^\| \[(\w+)\].* \| ([^|]+) \|$/gm)].flatMap(([, alert, severities = ""]) =>
    severities.split(", ").map((severity) => `${alert}: ${severity}`),
  );
  const shipped = (await shippedAlerts()).map(({ alert, labels }) => `${alert}: ${labels.severity}`);
  const lacking = shipped.filter((each) => !named.includes(each));
  expect(lacking, `docs/reference.md lacks ${lacking.join(", ")}`).toEqual([]);
  const strange = named.filter((each) => !shipped.includes(each));
  expect(strange, `docs/reference.md has ${strange.join(", ")}, and ledger.yml has not`).toEqual([]);
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

it("a delivery is late after as long as the rule, the panel and the documents say", () =>
  expectIn([
    ["config/alertmanager/ledger.yml", `Late ones have waited for ${outboxLateAfter}`],
    ["config/alertmanager/ledger.yml", `The oldest has waited for over ${outboxLateAfter}`],
    ["config/grafana/rows/evidence.ts", `over ${outboxLateAfter}`],
    ["docs/reference.md", `\`late\` by over ${outboxLateAfter}`],
    ["docs/reference.md", `waits for over ${outboxLateAfter.replace("utes", "")}`],
  ]));

it("docs/settings.md has each setting", () =>
  expectIn(["SECRET_ID", "PORT", "HOST", ...settingNames].map((name) => ["docs/settings.md", `\`${name}\``])));

it("npm run aws knows each setting: one that it leaves out would differ from the secret for ever", () =>
  expectIn(
    settingNames.map((name) => [name === "CA_CERTIFICATES" ? "setup/aws/secrets.ts" : "setup/settings.ts", name]),
  ));

it("docs/runbook/reasons.md has each message of the functions' log", async () => {
  const [, fields = ""] = /^interface Fields \{\n([\s\S]*?)^\}/m.exec(await textOf("lib/log.ts")) ?? [];
  const messages = [...fields.matchAll(/^ {2}(?:"([^"]+)"|(\w+)):/gm)].map(([, quoted, word]) => quoted ?? word);
  expect(messages).toContain("check failed");
  expect(messages).toContain("tick");
  return expectIn(messages.map((message) => ["docs/runbook/reasons.md", `\`${message}\``]));
});
