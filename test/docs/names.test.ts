// The names of metrics, alerts, checks and phases: no file has a name that is gone. Also how the code is written: its
// characters, and how long its lines are.
import { globSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { acceptedUntilMetric } from "../../lib/counts/accepted.ts";
import { blindnessMetric } from "../../lib/counts/blindness.ts";
import { checks } from "../../lib/counts/checks.ts";
import { phases } from "../../lib/totals/events.ts";
import { exportedMetrics } from "../helpers/metrics.ts";
import { shippedAlerts } from "../helpers/rules.ts";

// Roles and indexes begin as metrics do. Tests name what is gone.
const others = [
  "sampler",
  "receiver",
  "oncall",
  "amounts",
  "clone",
  "sampler_clone",
  "views",
  "doctor",
  "stuck",
  "gone",
];
const ids = checks.map(({ id }) => id as string);
const alerts = (await shippedAlerts()).map(({ alert }) => alert);
const known: [what: string, place: string, named: RegExp, names: string[]][] = [
  [
    "metric",
    "lib/counts/checks.ts or lib/totals/events.ts",
    /\bveza_(?:ledger|reconciler)_[a-z_]*[a-z]\b/g,
    [...exportedMetrics, ...[...others, ...ids].map((name) => `veza_ledger_${name}`), "veza_reconciler_gone"],
  ],
  ["alert", "config/alertmanager/ledger.yml", /\bVezaLedger[A-Z]\w+/g, alerts],
  ["check", "lib/counts/checks.ts", /\bcheck(?:=|: |": )["']?([a-z]+_[a-z_]+)/g, ids],
  ["phase", "lib/totals/events.ts", /\bphase(?:=|: |": )["']?([a-z]+_[a-z_]+)/g, [...phases]],
];
const files = "{README.md,{docs,config,generate,commands,lib,local,bench,clients,test}/**/*.{md,yml,ts,sql,json,go}}";

const namedIn = (text: string, named: RegExp) =>
  [...text.matchAll(named)].map(([all, name = all]) => name.replace(/_(bucket|sum|count)$/, ""));

it("no file names a metric, an alert, a check or a phase that is not there", async () => {
  const lines: Record<string, number[]> = {};
  for (const file of globSync(files).sort()) {
    for (const [index, line] of (await readFile(file, "utf8")).split("\n").entries()) {
      for (const [what, place, named, names] of known) {
        const gone = namedIn(line, named).filter((name) => !names.includes(name));
        for (const problem of gone.map((name) => `${file}: ${place} has no ${what} ${name}`)) {
          lines[problem] = [...(lines[problem] ?? []), index + 1];
        }
      }
    }
  }
  expect(Object.entries(lines).map(([problem, at]) => `${problem}: line ${at.join(", ")}`)).toEqual([]);
});

it("the SQL is ASCII: a database in LATIN1 takes no other characters", async () => {
  for (const file of globSync("config/postgres/*")) expect(await readFile(file, "utf8"), file).toMatch(/^[\t\n -~]*$/);
});

/** A check in a list. Generated strings have such lists, which grow with each check and cannot be split. */
const listed = new RegExp(`\\b(?:${ids.join("|")})'?(?:[|]|, )`, "g");

it("no line of the code is over 120 characters, but of the tests, whose strings and series may be longer", async () => {
  const folders = ".github,bench,clients,commands,config,deploy,generate,handlers,lib,local,setup";
  const isTest = (file: string) => /_test\.go$|^clients\/go\/test\//.test(file);
  const long: string[] = [];
  for (const file of globSync([`{${folders}}/**/*.{ts,js,sql,sh,yml,go,service}`, "*.{ts,yml}", ".ci/run"])) {
    if (isTest(file)) continue;
    for (const [index, line] of (await readFile(file, "utf8")).split("\n").entries()) {
      if ([...line.replaceAll(listed, "")].length > 120) long.push(`${file}: line ${index + 1}`);
    }
  }
  expect(long).toEqual([]);
});

const documents = globSync(["*.md", "{docs,clients/go}/**/*.md"]);
/** A document without its code and tables. */
const proseOf = async (file: string) =>
  (await readFile(file, "utf8")).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "\n").replaceAll(/^ *\|.*$/gm, "\n");

it("no line of a document is over 120 characters, but of tables", async () => {
  const long: string[] = [];
  for (const file of documents) {
    const lines = (await proseOf(file)).split("\n").filter((line) => [...line].length > 120);
    long.push(...lines.map((line) => `${file}: ${line}`));
  }
  expect(long, `break these lines:\n${long.join("\n")}`).toEqual([]);
});

it("no sentence of a document has over 30 words: code is one, and a link as many as it shows", async () => {
  const long: string[] = [];
  for (const file of documents) {
    const shown = (await proseOf(file)).replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll(/`[^`]*`/g, "code");
    const sentences = shown
      .split(/\n\s*\n|\n(?= *(?:[-*]|\d+\.) )|\n(?=#)/)
      .flatMap((part) => part.replaceAll(/\s+/g, " ").split(/(?<=[.!?][)"*]*) /));
    const counted = sentences.map((text) => [text, text.split(" ").filter((word) => /\w/.test(word)).length] as const);
    for (const [text, words] of counted) if (words > 30) long.push(`${file}: ${words} words: ${text}`);
  }
  expect(long, `split these sentences:\n${long.join("\n")}`).toEqual([]);
});

/** Only rules read these, and a recording rule of theirs is shown, or an alert. */
const { checkInserts, watches, nearlyStuck } = blindnessMetric;
const forRules: string[] = [checkInserts, watches, nearlyStuck, acceptedUntilMetric];

it.each([
  ["docs/reference.md", "docs/reference.md", []],
  ["config/grafana/dashboard.ts", "config/grafana/ledger.json", forRules],
])("%s shows every metric that is exported", async (_, file, but) => {
  const named = new Set(namedIn(await readFile(file, "utf8"), /\bveza_\w+/g));
  const lacking = exportedMetrics.filter((name) => !named.has(name) && !but.includes(name));
  expect(lacking, `${file} lacks ${lacking.join(", ")}`).toEqual([]);
});
