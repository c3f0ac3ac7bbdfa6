import { access, readFile } from "node:fs/promises";
import { load } from "js-yaml";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDatabase, type TestDatabase } from "./helpers/database.ts";

let runbook: string;
let severities: Record<string, Set<string>>;
beforeAll(async () => {
  runbook = await readFile("docs/runbook.md", "utf8");
  const { groups } = load(await readFile("config/alertmanager/ledger.yml", "utf8")) as {
    groups: { rules: { alert: string; labels: { severity: string } }[] }[];
  };
  severities = {};
  for (const { alert, labels } of groups.flatMap(({ rules }) => rules)) {
    severities[alert] = (severities[alert] ?? new Set()).add(labels.severity);
  }
});

/** The sections by their heading. */
const sections = () =>
  Object.fromEntries(
    runbook
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.split("\n")[0] ?? "", section]),
  );
const sqlIn = (section = "") => [...section.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql = ""]) => sql);

it("has a section for each alert, and none for an alert that is not there", () => {
  const alerts = Object.keys(sections()).filter((name) => name.startsWith("VezaLedger"));
  expect(alerts.sort()).toEqual(Object.keys(severities).sort());
});

it("answers the same questions in the same order for each alert", () => {
  for (const [alert, ofAlert] of Object.entries(severities)) {
    const section = sections()[alert] ?? "";
    const order = [...section.matchAll(/\*\*(What it means|Now|How much|Wait or act|Fixed when|Who)\.\*\*/g)];
    expect(
      order.map(([, question]) => question),
      alert,
    ).toEqual(["What it means", "Now", "How much", "Wait or act", "Fixed when", "Who"]);
    const [firstLine = ""] = section.split("\n").slice(2);
    const named = [...firstLine.toLowerCase().matchAll(/\*\*(page|ticket)\.\*\*/g)].map(([, severity]) => severity);
    expect(new Set(named), alert).toEqual(ofAlert);
  }
});

it("begins what to do now with a command to paste", () => {
  for (const alert of Object.keys(severities)) {
    const [, first = ""] = /\*\*Now\.\*\*\n\n1\. ([\s\S]*?)\n(?:2\. |\*\*)/.exec(sections()[alert] ?? "") ?? [];
    expect(first, alert).toMatch(/```(sql|sh)\n/);
  }
});

it("has a line to fill in for everybody that it says to call", () => {
  const [, table = ""] = /\| who \|.*\n\|---.*\n((?:\|.*\n)+)/.exec(runbook) ?? [];
  const roles = [...table.matchAll(/^\| ([^|]+?) \|/gm)].map(([, role = ""]) => role);
  expect(roles.length).toBeGreaterThan(4);
  for (const alert of Object.keys(severities)) {
    const [, who = ""] = /\*\*Who\.\*\*([\s\S]*)/.exec(sections()[alert] ?? "") ?? [];
    const known = [...roles, "Whoever has the ticket", "the check's own alert"];
    expect(
      known.some((role) => who.toLowerCase().includes(role.toLowerCase())),
      alert,
    ).toBe(true);
  }
});

it("links to sections and files that are there", async () => {
  const links = [...runbook.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)];
  expect(links.length).toBeGreaterThan(10);
  const anchors = Object.keys(sections()).map((name) => name.toLowerCase().replaceAll(" ", "-"));
  for (const [, file, anchor] of links) {
    if (file) await access(`docs/${file}`);
    else expect(anchors).toContain(anchor);
  }
});

describe("the SQL", () => {
  let database: TestDatabase;
  let oncall: postgres.Sql;
  beforeAll(async () => {
    database = await createDatabase();
    await database.admin.unsafe(`
      alter role veza_ledger_oncall password 'oncall';
      insert into orders (status, hyperswitch_payment_id, created_at) values
        ('pending', 'p', now() - interval '1 hour'), ('paid', 'p', now() - interval '1 hour');
      insert into refunds (status, hyperswitch_refund_id, created_at) values
        ('pending', 'r', now() - interval '1 hour'), ('pending', 'r', now() - interval '2 days'),
        ('pending', null, now() - interval '1 hour'), ('pending', '', now() - interval '1 hour'),
        ('pending', '', now() - interval '2 hours'), ('pending', null, now()), ('failed', null, now());
      insert into seller_transfers (status, updated_at) values ('permanently_failed', now()),
        ('reversal_pending', now() - interval '1 hour'), ('reversal_pending', now())`);
    oncall = postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
  });
  afterAll(() => Promise.all([oncall.end(), database.admin.end()]));

  it.each([
    ["VezaLedgerStuckOrders", 1],
    ["VezaLedgerStuckRefunds", 2],
    ["VezaLedgerOrphanRefunds", 3],
    ["VezaLedgerFailedTransfers", 1],
    ["VezaLedgerPendingReversals", 1],
    ["VezaLedgerReconcilerFailingOrphans", 1],
  ])("of %s lists the rows that it is about, then counts them", async (alert, count) => {
    const [list = "", sum = ""] = sqlIn(sections()[alert]);
    const rows = await oncall.unsafe(list);
    expect(rows).toHaveLength(count);
    expect(rows[0]).toHaveProperty("id");
    const [counted] = await oncall.unsafe(sum);
    expect(Object.values(counted ?? {}).map(Number)[0]).toBe(count);
    expect(counted?.oldest).toBeInstanceOf(Date);
    expect(sum).toContain("YOUR_AMOUNT_COLUMN");
  });

  it("of VezaLedgerRowsTooOld lists what has waited for over a day", async () => {
    const [list = ""] = sqlIn(sections().VezaLedgerRowsTooOld);
    expect(await oncall.unsafe(list)).toMatchObject([{ what: "stuck refund" }]);
  });

  it("runs as veza_ledger_oncall, all of it", async () => {
    const all = sqlIn(runbook);
    expect(all.length).toBeGreaterThan(15);
    for (const sql of all) await expect(oncall.unsafe(sql), sql).resolves.toBeDefined();
  });

  it("shows who holds a lock, and what they do", async () => {
    const holder = await database.admin.reserve();
    await holder.unsafe("begin; lock table orders in access exclusive mode");
    const [sql = ""] = sqlIn(sections().VezaLedgerCheckFailing);
    const rows = await oncall.unsafe(sql);
    await holder.unsafe("rollback");
    holder.release();
    expect(rows).toMatchObject([{ locked: "orders", query: expect.stringContaining("lock table orders") }]);
  });

  it.each([
    ["update orders set status = 'paid'", "cannot execute UPDATE in a read-only transaction"],
    ["begin read write; update orders set status = 'paid'", "permission denied for table orders"],
    ["begin read write; delete from ledger_metrics.deliveries", "permission denied for table deliveries"],
    ["select pg_sleep(20)", "canceling statement due to statement timeout"],
  ])("changes nothing and ends: %s", async (statement, message) => {
    const session = postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
    await expect(session.unsafe(statement)).rejects.toThrow(message);
    await session.end();
  });
});
