import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ledgerDashboard } from "../config/grafana/dashboard.ts";
import { checks } from "../lib/checks.ts";
import { phases } from "../lib/events.ts";
import { runSqlFiles } from "../local/sql.ts";
import { createDatabase, type TestDatabase } from "./helpers/database.ts";

// What belongs to a check, one test each: whoever adds one is told by name what is missing. docs/add-a-check.md is the recipe.

/** `stuck_orders` → `VezaLedgerStuckOrders`. */
const alertOf = (id: string) =>
  `VezaLedger${id.replaceAll(/(?:^|_)(.)/g, (_, letter: string) => letter.toUpperCase())}`;
const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");

let database: TestDatabase;
let rules: { alert: string; expr: string; labels: { severity: string } }[];
let runbook: string;
let readme: string;
beforeAll(async () => {
  database = await createDatabase();
  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as {
    groups: { rules: typeof rules }[];
  };
  rules = groups.flatMap((group) => group.rules);
  runbook = await readFile("docs/runbook.md", "utf8");
  readme = await readFile("README.md", "utf8");
});
afterAll(() => database.admin.end());

describe.each(checks)("$id has", ({ id, metric, sql }) => {
  /** From the table's name on: which rows count. */
  const condition = oneLine(sql.slice(sql.indexOf("\nfrom ")));
  const alert = alertOf(id);

  it("a grant for the sampler in config/postgres/roles.sql", async () => {
    const sampler = postgres(database.samplerUrl, { max: 1 });
    await expect(sampler.unsafe(sql)).resolves.toHaveLength(1);
    await sampler.end();
  });

  it("an index in config/postgres/indexes.sql, and a rollback that takes it back", async () => {
    /** Whether it reads the whole table even where it would rather not. */
    const readsAll = () =>
      database.admin.begin(async (transaction) => {
        await transaction`set local enable_seqscan = off`;
        return JSON.stringify(await transaction.unsafe(`explain (format json) ${sql}`)).includes("Seq Scan");
      });
    const indexes = async () =>
      (await database.admin`select indexname from pg_indexes where indexname = ${`veza_ledger_${id}`}`).length;
    expect(await readsAll()).toBe(true);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    expect([await indexes(), await readsAll()]).toEqual([1, false]);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.rollback.sql"]);
    expect([await indexes(), await readsAll()]).toEqual([0, true]);
  });

  it("an alert of its name on its metric, which ends with a count of 0, in config/alertmanager/ledger.yml", () => {
    const own = rules.filter((rule) => rule.alert === alert);
    expect(own.map(({ expr }) => expr)).toEqual([`last_over_time((${metric} >= 0)[1d:30s]) > 0`]);
  });

  it("one rule there that sees it grow, and pages if its own alert does", () => {
    const [own] = rules.filter((rule) => rule.alert === alert);
    const growing = rules.filter((rule) => rule.alert === "VezaLedgerBacklogGrowing" && rule.expr.includes(metric));
    expect(growing.map(({ labels }) => labels.severity)).toEqual([own?.labels.severity]);
    expect(growing[0]?.expr).toContain(`"check", "${id}"`);
  });

  it("a page when it is blind if its alert pages, and a page when its rows are too old if it does not", () => {
    const [own] = rules.filter((rule) => rule.alert === alert);
    const pages = own?.labels.severity === "page";
    const exprOf = (name: string) =>
      rules.find((rule) => rule.alert === name && rule.labels.severity === "page")?.expr ?? "";
    const named = (expr: string) => /check[=!]~"([^"]*)"/.exec(expr)?.[1]?.split("|").includes(id);
    expect(named(exprOf("VezaLedgerCheckFailing"))).toBe(pages);
    expect(named(exprOf("VezaLedgerRowsTooOld"))).toBe(pages);
  });

  it("a section in docs/runbook.md that lists and counts the same rows", () => {
    const [, section = ""] = new RegExp(`^## ${alert}\n([\\s\\S]*?)(?=^## |(?![\\s\\S]))`, "m").exec(runbook) ?? [];
    expect(oneLine(section).split(condition)).toHaveLength(2 + 1);
  });

  it("a tile on the dashboard, which links there", () => {
    const tiles = (ledgerDashboard().panels ?? []).filter((panel) => panel.type === "stat") as {
      targets?: { expr?: string }[];
      links?: { url?: string }[];
    }[];
    const own = tiles.filter(({ targets = [] }) => targets.some(({ expr }) => expr?.includes(`${metric}{`)));
    expect(own).toHaveLength(1);
    expect(own[0]?.links?.[0]?.url).toMatch(new RegExp(`/docs/runbook/${alert}\\.md$`));
  });

  it("a row for its metric and one for its alert in README.md, and its id beside the others", () => {
    expect(readme).toContain(`| \`${metric}\` |`);
    expect(readme).toContain(`| \`${alert}\` |`);
    const [, ids = ""] = /`check` is ([^.]*)\./.exec(oneLine(readme)) ?? [];
    expect(ids).toContain(`\`${id}\``);
  });
});

describe.each(phases.map((phase) => ({ phase })))("the phase $phase has", ({ phase }) => {
  it("a line on the dashboard", () => {
    const queries = JSON.stringify(ledgerDashboard().panels);
    expect(queries).toContain(`phase=\\"${phase}\\"`);
  });

  it("its name in README.md", () => {
    const row = /^\| `veza_reconciler_actions_total\{phase\}` .*$/m.exec(readme)?.[0];
    expect(row).toContain(`\`${phase}\``);
  });
});
