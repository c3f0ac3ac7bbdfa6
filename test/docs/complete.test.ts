// What a check needs and neither TypeScript nor `npm run generate` holds: docs/add-a-check.md is the recipe.
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { alertOf } from "../../config/checks.ts";
import { rulesFile } from "../../config/generate/rules-of-checks.ts";
import { checks, rowsOf } from "../../lib/checks.ts";

const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");
const rulesText = await readFile("config/alertmanager/ledger.yml", "utf8");

describe.each(checks)("$id has", (check) => {
  const alert = alertOf(check);

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
