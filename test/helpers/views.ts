import { readFile } from "node:fs/promises";
import { expect } from "vitest";
import type { TestDatabase } from "./database.ts";

/** The schema of the views that docs/what-counts.md tells to make. */
export const viewSchema = "veza_ledger_views";

/** Makes these views, each text that is given in the place of what its key is at first. Throws where the page lacks it. */
export async function makeViews(
  database: Pick<TestDatabase, "admin">,
  instead: Record<string, string> = {},
): Promise<void> {
  const page = await readFile("docs/what-counts.md", "utf8");
  let sql = /begin;[^`]*create schema veza_ledger_views;[^`]*/.exec(page)?.[0] ?? "";
  for (const [text, other] of Object.entries(instead)) {
    expect(sql).toContain(text);
    sql = sql.replace(text, () => other);
  }
  const session = await database.admin.reserve();
  await session.unsafe(sql).finally(() => session.release());
}
