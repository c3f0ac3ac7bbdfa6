import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { dump, load } from "js-yaml";
import { expect, it, onTestFinished } from "vitest";
import { checks } from "../../lib/checks.ts";
import { unitTest } from "../helpers/rules.ts";

interface Group {
  name: string;
  rules: { record?: string; expr: string; annotations?: Record<string, string> }[];
}

async function blindRules(): Promise<Group> {
  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as { groups: Group[] };
  const group = groups.find(({ name }) => name === "veza-ledger-blind");
  if (!group) throw new Error("there is no group veza-ledger-blind");
  return group;
}

it.each([
  { engine: "Prometheus", tool: "promtool" as const },
  { engine: "VictoriaMetrics", tool: "vmalert-tool" as const },
])(
  "VezaLedgerCheckBlind tells a rename and a stop, and no outage, by the tool of $engine",
  async ({ tool }) => {
    const folder = await mkdtemp(path.join(tmpdir(), "veza-ledger-blind-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const group = await blindRules();
    for (const { annotations } of group.rules) {
      delete annotations?.dashboard_url;
      delete annotations?.runbook_url;
    }
    await writeFile(path.join(folder, "ledger.yml"), dump({ groups: [group] }));
    const file = load(await readFile("test/alerts/alerts-blind.yml", "utf8")) as {
      tests: { promql_expr_test?: unknown }[];
    };
    // vmalert-tool has another name for what is asked beside the alerts.
    if (tool === "vmalert-tool") for (const history of file.tests) delete history.promql_expr_test;
    await writeFile(path.join(folder, "tests.yml"), dump(file));
    expect(await unitTest(tool, folder, ["tests.yml"])).toMatch(/^ *SUCCESS$/m);
  },
  900_000,
);

it("VezaLedgerCheckBlind knows the checks without rows outside, whose absence means no evidence", async () => {
  const rule = (await blindRules()).rules.find(({ record }) => record === "veza_ledger:check_answered");
  const [, named = ""] =
    /or\s+last_over_time\(veza_ledger_check_success\{check="([\w|]+)"\}/.exec(rule?.expr ?? "") ?? [];
  const ofAnyAge = checks.filter(({ staleAfter }) => staleAfter === undefined);
  expect(named.split("|")).toEqual(ofAnyAge.map(({ id }) => id));
  const rules = await readFile("config/alertmanager/ledger.yml", "utf8");
  const absent = /veza_ledger_check_success\{check!="([\w|]+)"\}\[10m\]\) == 1\s+unless/.exec(rules)?.[1];
  expect(absent).toBe(named);
});

it("VezaLedgerCheckBlind leaves a table whose inserts a check expects to that check", async () => {
  const { rules } = await blindRules();
  const rule = rules.find(({ expr }) => expr.includes("veza_ledger:table_inserts:rise{"));
  const [, leftOut = ""] = /table!~"([\w|]+)"/.exec(rule?.expr ?? "") ?? [];
  const byCreation = checks.filter(({ time }) => time === "created_at").map(({ table }) => table);
  expect(leftOut.split("|")).toEqual([...new Set(byCreation)]);
});

it("VezaLedgerCheckBlind knows the table of each check whose rows come in by inserts", async () => {
  const rule = (await blindRules()).rules.find(({ record }) => record === "veza_ledger:check_inserts:rise");
  const ofPair = /table="(\w+)"\}\[10m\] offset 5m\)\s+\), 0\), "check", "(\w+)"/g;
  const pairs = [...(rule?.expr.matchAll(ofPair) ?? [])].map(([, ...pair]) => pair);
  const byCreation = checks.filter(({ time }) => time === "created_at");
  expect(pairs.sort()).toEqual(byCreation.map(({ table, id }) => [table, id]).sort());
});
