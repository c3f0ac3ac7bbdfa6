import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { load } from "js-yaml";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findProgram, type ProgramName } from "../local/find-program.ts";
import { createDatabase, type TestDatabase } from "./helpers/database.ts";
import { exportedMetrics } from "./helpers/metrics.ts";

interface Rule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary?: string; description?: string; runbook_url?: string };
}

const rulesFile = "config/alertmanager/ledger.yml";
let rules: Rule[];
let runbook: string;
beforeAll(async () => {
  const { groups } = load(await readFile(rulesFile, "utf8")) as { groups: { rules: Rule[] }[] };
  rules = groups.flatMap((group) => group.rules);
  runbook = await readFile("docs/runbook.md", "utf8");
});

/** The sections of the runbook by the anchor of their heading. */
const sections = () =>
  Object.fromEntries(
    runbook
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.split("\n")[0]?.toLowerCase() ?? "", section]),
  );

async function run(program: ProgramName, ...args: string[]): Promise<string> {
  const { file } = await findProgram(program);
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args);
    return stdout + stderr;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(stdout + stderr);
  }
}

it("promtool: every alert fires when it should, not a minute earlier, and says what it should", async () => {
  expect(await run("promtool", "test", "rules", "test/alerts.yml")).toContain("SUCCESS");
  const tested = new Set((await readFile("test/alerts.yml", "utf8")).match(/(?<=alertname: )\w+/g));
  expect(tested).toEqual(new Set(rules.map(({ alert }) => alert)));
});

it("promtool and amtool accept the examples", async () => {
  expect(await run("promtool", "check", "config", "config/prometheus/prometheus.yml")).toContain("13 rules found");
  const checked = await run("amtool", "check-config", "config/alertmanager/alertmanager.yml");
  expect(checked).toContain("SUCCESS");
});

it("the route sends pages and tickets to receivers of their own", async () => {
  const routeOf = async (severity: string) => {
    const args = ["config", "routes", "test", "--config.file=config/alertmanager/alertmanager.yml"];
    return (await run("amtool", ...args, `severity=${severity}`, "alertname=x")).split("\n")[0];
  };
  expect([await routeOf("page"), await routeOf("ticket")]).toEqual(["pages", "tickets"]);
});

it("the two required pages are exactly as agreed", () => {
  const byName = Object.fromEntries(rules.map((rule) => [rule.alert, rule]));
  expect(byName.VezaLedgerStuckOrders).toMatchObject({
    expr: "veza_ledger_stuck_orders_pending > 0",
    for: "10m",
    labels: { severity: "page" },
  });
  expect(byName.VezaLedgerOrphanRefunds).toMatchObject({
    expr: "veza_ledger_orphan_refund_rows > 0",
    for: "5m",
    labels: { severity: "page" },
  });
});

it("every alert has prefix, severity, texts, and a link to its own section of the runbook", () => {
  expect(rules).toHaveLength(13);
  for (const { alert, labels, annotations } of rules) {
    expect(alert).toMatch(/^VezaLedger[A-Z]\w+$/);
    expect(labels.severity).toMatch(/^(page|ticket)$/);
    expect(annotations.summary).toMatch(/\w/);
    expect(annotations.description).toMatch(/\.$/);
    expect(annotations.runbook_url).toMatch(new RegExp(`/docs/runbook\\.md#${alert.toLowerCase()}$`));
    expect(sections()).toHaveProperty(alert.toLowerCase());
    const severity = labels.severity === "page" ? "**Page.**" : "**Ticket.**";
    expect(sections()[alert.toLowerCase()]).toContain(severity);
  }
  expect(Object.keys(sections()).sort()).toEqual(rules.map(({ alert }) => alert.toLowerCase()).sort());
});

it("every link within the runbook leads to one of its sections", () => {
  const links = [...runbook.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor);
  expect(links.length).toBeGreaterThan(3);
  expect(Object.keys(sections())).toEqual(expect.arrayContaining(links));
});

describe("metric names", () => {
  /** The metrics that a text names. Job names look the same, and so do the roles in SQL. */
  const namedIn = (text: string) =>
    (text.match(/\bveza_(?:ledger|reconciler)_\w+/g) ?? [])
      .map((name) => name.replace(/_(bucket|sum|count)$/, ""))
      .filter((name) => !/^veza_ledger_(sampler|receiver|doctor)$/.test(name));
  const read = (file: string) => readFile(file, "utf8");

  it.each([rulesFile, "docs/runbook.md", "README.md", "config/grafana/ledger.json"])(
    "every one in %s is exported by the code",
    async (file) => {
      const names = namedIn(await read(file));
      expect(names.length).toBeGreaterThan(0);
      expect(exportedMetrics).toEqual(expect.arrayContaining(names));
    },
  );

  it("every one that the code exports is in the README and on the dashboard", async () => {
    for (const file of ["README.md", "config/grafana/ledger.json"]) {
      expect(namedIn(await read(file))).toEqual(expect.arrayContaining(exportedMetrics));
    }
  });
});

describe("the runbook's SQL", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
    await database.admin.unsafe(`
      insert into orders (status, hyperswitch_payment_id, created_at) values
        ('pending', 'p', now() - interval '1 hour'), ('paid', 'p', now() - interval '1 hour');
      insert into refunds (status, hyperswitch_refund_id, created_at) values
        ('pending', 'r', now() - interval '1 hour'), ('pending', 'r', now() - interval '2 hours'),
        ('pending', null, now() - interval '1 hour'), ('pending', '', now() - interval '1 hour'),
        ('pending', '', now() - interval '2 hours'), ('pending', null, now()), ('failed', null, now());
      insert into seller_transfers (status, updated_at) values
        ('permanently_failed', now()), ('reversal_pending', now() - interval '1 hour'), ('reversal_pending', now())`);
  });
  afterAll(() => database.admin.end());
  const sqlOf = (alert: string) => /```sql\n([\s\S]*?)```/.exec(sections()[alert.toLowerCase()] ?? "")?.[1] ?? "";

  it.each([
    ["VezaLedgerStuckOrders", 1],
    ["VezaLedgerStuckRefunds", 2],
    ["VezaLedgerOrphanRefunds", 3],
    ["VezaLedgerFailedTransfers", 1],
    ["VezaLedgerPendingReversals", 1],
    ["VezaLedgerReconcilerFailingOrphans", 1],
  ])("of %s lists the rows that it is about", async (alert, count) => {
    expect(await database.admin.unsafe(sqlOf(alert))).toHaveLength(count);
  });

  it("runs, all of it", async () => {
    const blocks = [...runbook.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql ?? "");
    expect(blocks).toHaveLength(9);
    for (const sql of blocks) await database.admin.begin("read only", (transaction) => transaction.unsafe(sql));
  });
});
