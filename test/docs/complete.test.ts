import { readFile } from "node:fs/promises";
import { load } from "js-yaml";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { indexFiles } from "../../commands/indexes.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { ledgerDashboard } from "../../config/grafana/dashboard.ts";
import { checks, questionOf, rowsOf } from "../../lib/checks.ts";
import { phases } from "../../lib/events.ts";
import { sampleTimeoutMs } from "../../lib/limits.ts";
import { createDatabase, type TestDatabase } from "../helpers/database.ts";
import { alertOf, modelOf, models } from "../helpers/models.ts";

// What belongs to a check, one test each, named after the file that lacks it. docs/add-a-check.md is the recipe.

const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");

interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  labels: { severity: string };
}
interface UnitTest {
  alert_rule_test: { alertname: string; exp_alerts: { exp_annotations?: { summary?: string } }[] }[];
}

let database: TestDatabase;
let rules: Rule[];
let unitTests: UnitTest[];
let readme: string;
beforeAll(async () => {
  database = await createDatabase();
  const yaml = async <T>(file: string) => load(await readFile(file, "utf8")) as T;
  const { groups } = await yaml<{ groups: { rules: Rule[] }[] }>("config/alertmanager/ledger.yml");
  rules = groups.flatMap((group) => group.rules);
  unitTests = (await yaml<{ tests: UnitTest[] }>("test/alerts/alerts-texts.yml")).tests;
  readme = await readFile("README.md", "utf8");
});
afterAll(() => database?.remove());

it.each(["veza_ledger_sampler", "veza_ledger"])(
  "all checks together have time: config/postgres/roles.sql gives %s a short enough statement_timeout",
  async (login) => {
    const [row] = await database.admin`
      select extract(epoch from split_part(setting, '=', 2)::interval) * 1000 as timeout_ms
      from pg_db_role_setting, unnest(setconfig) as setting
      where setrole = ${login}::regrole and setdatabase = 0 and setting like 'statement_timeout=%'`;
    const longest = Math.floor(sampleTimeoutMs / checks.length);
    const lacking =
      `config/postgres/roles.sql: ${checks.length} checks have ${sampleTimeoutMs} ms. ` +
      `Lower the statement_timeout of ${login} to ${longest} ms or less`;
    expect(Number(row?.timeout_ms), lacking).toBeGreaterThan(0);
    expect(Number(row?.timeout_ms), lacking).toBeLessThanOrEqual(longest);
  },
);

it("test/helpers/models.ts has models of the checks in lib/checks.ts, and no other", () => {
  expect(Object.keys(models).sort()).toEqual(checks.map(({ id }) => id).sort());
});

it.each(Object.entries(indexFiles()))("config/postgres/%s is in step with the checks", async (name, text) => {
  const lacking = `config/postgres/${name} is out of date: npm run indexes`;
  expect(await readFile(`config/postgres/${name}`, "utf8"), lacking).toBe(text);
});

describe.each(checks)("$id has", (check) => {
  const { id, metric } = check;
  const question = questionOf(check, { withOldest: true });
  const alert = alertOf(check);

  it("a model in test/helpers/models.ts", () => {
    const { table, status, time, staleAfterMinutes } = modelOf(check);
    expect(check).toMatchObject({ table, status, time });
    expect(Boolean(check.staleAfter)).toBe(staleAfterMinutes !== undefined);
  });

  it("a grant for the sampler in config/postgres/roles.sql", async () => {
    const sampler = postgres(database.samplerUrl, { max: 1 });
    await expect(sampler.unsafe(question), "config/postgres/roles.sql").resolves.toHaveLength(1);
    await sampler.end();
  });

  it("a grant for people on call in config/postgres/roles.sql", async () => {
    const asking = database.admin.begin(async (transaction) => {
      await transaction`set local role veza_ledger_oncall`;
      return await transaction.unsafe(question);
    });
    await expect(asking, "config/postgres/roles.sql").resolves.toHaveLength(1);
  });

  it("an index in config/postgres/indexes.sql, and a rollback that takes it back", async () => {
    /** Whether it reads the whole table even where it would rather not. */
    const readsAll = () =>
      database.admin.begin(async (transaction) => {
        await transaction`set local enable_seqscan = off`;
        return JSON.stringify(await transaction.unsafe(`explain (format json) ${question}`)).includes("Seq Scan");
      });
    const indexes = async () =>
      (await database.admin`select indexname from pg_indexes where indexname = ${`veza_ledger_${id}`}`).length;
    expect(await readsAll()).toBe(true);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    expect([await indexes(), await readsAll()], "config/postgres/indexes.sql: npm run indexes").toEqual([1, false]);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.rollback.sql"]);
    const after = [await indexes(), await readsAll()];
    expect(after, "config/postgres/indexes.rollback.sql: npm run indexes").toEqual([0, true]);
  });

  it("an alert of its name on its metric, which ends with a count of 0, in config/alertmanager/ledger.yml", () => {
    // What the reconciler has repaired or failed comes after it.
    const own = rules.filter((rule) => rule.alert === alert).map(({ expr }) => oneLine(expr).split(" ) > 0")[0]);
    const accepted = `${metric} - ignoring (check) veza_ledger_accepted_rows{check="${id}"} >= 0`;
    expect(own[0]).toBe(`last_over_time( ( ${accepted} or ${metric} + 0 >= 0 )[1d:30s]`);
  });

  it("rules in config/alertmanager/ledger.yml that see it grow, and page if its own alert does", () => {
    const [own] = rules.filter((rule) => rule.alert === alert);
    const pages = (severity: string) =>
      /check[=!]~"([^"]*)"/
        .exec(
          rules.find((rule) => rule.alert === "VezaLedgerBacklogGrowing" && rule.labels.severity === severity)?.expr ??
            "",
        )?.[1]
        ?.split("|")
        .includes(id);
    const isPage = own?.labels.severity === "page";
    expect([pages("page"), pages("ticket")]).toEqual([isPage, isPage]); // One names them, the other leaves them out.
    const open = rules.find(({ record }) => record === "veza_ledger:check_open:rows")?.expr;
    expect(open).toContain(`label_replace(${metric} >= 0, "check", "${id}", "", "")`);
  });

  it("a page in config/alertmanager/ledger.yml: on its blindness if its alert pages, else on its rows' age", () => {
    const [own] = rules.filter((rule) => rule.alert === alert);
    const pages = own?.labels.severity === "page";
    const exprOf = (name: string) =>
      rules.find((rule) => rule.alert === name && rule.labels.severity === "page")?.expr ?? "";
    const named = (expr: string) => /check[=!]~"([^"]*)"/.exec(expr)?.[1]?.split("|").includes(id);
    expect(named(exprOf("VezaLedgerCheckFailing"))).toBe(pages);
    expect(named(exprOf("VezaLedgerRowsTooOld"))).toBe(pages);
  });

  it("the texts of its alert in test/alerts/alerts-texts.yml", () => {
    const own = unitTests.flatMap((test) => test.alert_rule_test).filter(({ alertname }) => alertname === alert);
    const texts = own.flatMap(({ exp_alerts }) => exp_alerts.map(({ exp_annotations }) => exp_annotations?.summary));
    expect(texts.filter(Boolean)).not.toEqual([]);
  });

  it("a page in docs/runbook that lists and counts the same rows, and a line in the index", async () => {
    const page = await readFile(`docs/runbook/${alert}.md`, "utf8");
    expect(oneLine(page).split(oneLine(rowsOf(check))), `docs/runbook/${alert}.md`).toHaveLength(1 + 1);
    const index = await readFile("docs/runbook/README.md", "utf8");
    expect(index, "docs/runbook/README.md").toContain(`[${alert}](${alert}.md)`);
  });

  it("a tile in config/grafana/dashboard.ts, which links to that page", () => {
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
