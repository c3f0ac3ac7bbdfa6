// What a check needs and neither TypeScript nor `npm run generate` holds: docs/add-a-check.md is the recipe.
import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import { describe, expect, it } from "vitest";
import { alertOf, told } from "../../config/checks.ts";
import { rulesFile } from "../../config/generate/rules-of-checks.ts";
import { checks, rowsOf } from "../../lib/checks.ts";

const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");
const rulesText = await readFile("config/alertmanager/ledger.yml", "utf8");

interface Rule {
  alert?: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; description: string };
}
const { groups } = load(rulesText) as { groups: { rules: Rule[] }[] };

describe.each(checks)("$id has", (check) => {
  const { id, metric } = check;
  const { severity, noun, means, lost } = told[id];
  const alert = alertOf(check);

  it("an alert of its severity, in its words, in config/alertmanager/ledger.yml, which ends with a count of 0", () => {
    const rule = groups.flatMap(({ rules }) => rules).find((rule) => rule.alert === alert);
    // What the reconciler has repaired or failed comes after it.
    const accepted = `${metric} - ignoring (check) veza_ledger_accepted_rows{check="${id}"} >= 0`;
    const ends = `last_over_time( ( ${accepted} or ${metric} + 0 >= 0 )[1d:30s] ) > 0`;
    expect(oneLine(rule?.expr ?? "").slice(0, ends.length)).toBe(ends);
    expect(rule?.labels.severity).toBe(severity);
    expect(rule?.annotations.summary).toContain(noun);
    expect(rule?.annotations.description).toContain(`${means} ${lost}`);
  });

  it("a page in docs/runbook that lists and counts the same rows", async () => {
    const page = await readFile(`docs/runbook/${alert}.md`, "utf8").catch(() => "");
    expect(oneLine(page).split(oneLine(rowsOf(check))), `docs/runbook/${alert}.md`).toHaveLength(1 + 1);
  });
});

it("a rule that lists checks or tables says which, so that npm run generate keeps its list in step", async () => {
  const wrong = rulesText.replaceAll(/\b((?:check|table)[=!]~)"[^"]*"/g, '$1"wrong"');
  expect(wrong.split('"wrong"').length).toBeGreaterThan(10);
  expect(await rulesFile(wrong)).toBe(rulesText);
});
