// What a check needs and neither TypeScript nor `npm run generate` holds: docs/add-a-check.md is the recipe.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { alertOf, maxAgeSeconds, secondsOf, told } from "../../config/checks.ts";
import { rulesFile } from "../../config/generate/rules-of-checks.ts";
import { checks, rowsOf } from "../../lib/checks.ts";

const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");
const rulesText = await readFile("config/alertmanager/ledger.yml", "utf8");

describe.each(checks)("$id has", (check) => {
  const { means, lost } = told[check.id];
  const alert = alertOf(check);

  it.runIf(check.staleAfter)("one threshold, which its help, its alert and its page name as it is", async () => {
    const page = await readFile(`docs/runbook/${alert}.md`, "utf8");
    const [, meaning = ""] = /## What it means\n([\s\S]*?)\n## /.exec(page) ?? [];
    const named = [check.help, means, lost, meaning].flatMap((text) => oneLine(text).match(/\d+ (?:minutes|hours)/g));
    const minutes = (text: string | null) => secondsOf(text ?? "");
    const isOther = (text: string | null) => text !== null && minutes(text) !== minutes(check.staleAfter ?? "");
    expect(check.help).toContain(check.staleAfter);
    expect(named.filter(isOther)).toEqual([]);
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

it("stuck orders have the threshold that the page of reasons and the Go example name", async () => {
  const check = checks.find(({ id }) => id === "stuck_orders");
  if (!check?.staleAfter) throw new Error("stuck orders have no threshold");
  const reasons = oneLine(await readFile("docs/runbook/reasons.md", "utf8"));
  expect(reasons).toContain(`An order is stuck after ${check.staleAfter} even`);
  expect(reasons).toContain(`settle it within ${Number(maxAgeSeconds(check)) / 60} minutes`);
  expect(oneLine(await readFile("clients/go/example/main.go", "utf8"))).toContain(oneLine(rowsOf(check)));
});
