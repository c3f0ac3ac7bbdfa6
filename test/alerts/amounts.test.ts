// The view of docs/amounts.md, as printed, and the amounts that the sampler shows by it.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks } from "../../lib/checks.ts";
import { databaseForTest } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { sampleOf } from "../helpers/sample.ts";

it("shows the amounts of the rows that a check counts by the page's view, and none by the shipped view", async () => {
  const database = await databaseForTest();
  const page = await readFile("docs/amounts.md", "utf8");
  const [view = "", reset = ""] = [...page.matchAll(/```sql\n(.*?)```/gs)].map(([, sql]) => sql);
  const amounts = async () => {
    const { evidence } = await sampleOf(database.samplerUrl);
    const series = evidence.filter(({ name }) => name === "veza_ledger_amount_at_risk");
    return Object.fromEntries(series.map(({ labels, value }) => [`${labels.check} ${labels.currency}`, value]));
  };

  for (const table of new Set(checks.map(({ table }) => table))) {
    await database.admin.unsafe(`alter table ${table} add amount_cents bigint not null default 1005,
      add currency text not null default 'EUR'`);
  }
  for (const [index, check] of checks.entries()) {
    await database.admin.unsafe(insertRows(check, index + 1));
    await database.admin.unsafe(insertRows(check, 1, { status: "settled" }));
  }
  expect(await amounts()).toEqual({});

  await database.admin.unsafe(view);
  const expected = checks
    .map(({ id }, index) => ({ id, amount: Number(((index + 1) * 10.05).toFixed(2)) }))
    .filter(({ id }) => view.includes(`'${id}'`)) // The page lets you leave out checks.
    .map(({ id, amount }) => [`${id} EUR`, amount]);
  expect(expected.length).toBeGreaterThan(4);
  expect(await amounts()).toEqual(Object.fromEntries(expected));
  await runSqlFiles(database.adminUrl, ["config/postgres/schema.sql"]); // An upgrade keeps the owner's view.
  expect(await amounts()).toEqual(Object.fromEntries(expected));

  await database.admin.unsafe(reset);
  expect(await amounts()).toEqual({});
});
