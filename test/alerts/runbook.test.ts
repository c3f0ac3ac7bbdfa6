// The pages of the runbook: their order, and every statement of SQL as people on call run it.
import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { makeAll } from "../../commands/plan/apply.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { alertOf } from "../../config/checks.ts";
import { checks } from "../../lib/checks.ts";
import { createDatabase, databaseForTest, lockTable, type TestDatabase } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { needs } from "../helpers/needs.ts";
import { shippedAlerts } from "../helpers/rules.ts";
import { httpServer } from "../helpers/servers.ts";

const folder = "docs/runbook";
/** The pages by their names, without `.md`. A page about an alert has the alert's name. */
const pages: Record<string, string> = {};
for (const file of await readdir(folder)) {
  pages[path.parse(file).name] = await readFile(path.join(folder, file), "utf8");
}
const severities: Record<string, Set<string>> = {};
for (const { alert, labels } of await shippedAlerts()) {
  severities[alert] ??= new Set();
  if (labels.severity !== "none") severities[alert].add(labels.severity);
}

const sqlIn = (page = ""): string[] => [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql = ""]) => sql);

it("answers the same questions in the same order for each alert, and says what to do now by a command to paste", () => {
  for (const [alert, ofAlert] of Object.entries(severities)) {
    const page = pages[alert] ?? "";
    expect(page.split("\n")[0]).toBe(`# ${alert}`);
    const order = [...page.matchAll(/^## (.*)$/gm)].map(([, question]) => question).slice(0, 6);
    expect(order, alert).toEqual(["What it means", "Now", "How much", "Wait or act", "Fixed when", "Who"]);
    const [, firstParagraph = ""] = page.split("\n\n");
    const named = [...firstParagraph.toLowerCase().matchAll(/\*\*(page|ticket)\.\*\*/g)].map(([, name]) => name);
    expect(new Set(named), alert).toEqual(ofAlert);
    const [, firstStep = ""] = /^## Now\n\n1\. ([\s\S]*?)\n(?:2\. |## )/m.exec(page) ?? [];
    expect(firstStep, alert).toMatch(/```(sql|sh)\n/);
  }
});

/** Blocks of code and code in sentences, with each command on one line. */
const codeIn = (page: string): string[] =>
  [...page.matchAll(/^( *)```\w*\n([\s\S]*?)^\1```|`([^`\n]+)`/gm)].map(([, , block, inline = ""]) =>
    (block ?? inline).replaceAll(/\\\n\s*/g, ""),
  );
const sqlThatWrites =
  /(?<!\b(?:do|for) )\b(?:insert into|update|delete from|merge into|truncate|alter table|drop table) \S+/gi;
const endsSession = /pg_(?:terminate|cancel)_backend/g;
const requestThatWrites = /.*\bcurl\b[^|&)]* -(?:\w*[XdFT]|-(?:request|data|json)).*|\b(?:POST|PUT|PATCH|DELETE) \/.*/g;
/** The service's own tables, its groups on the gateway, and its own receiver. */
const own = [
  / (public\.)?ledger_metrics(\.\w+|_outbox)$/,
  /https:\/\/push\.example\.com\/metrics\/job\//,
  /"\$(drill|url)"/,
];

it("writes nothing of a payment: commands of all pages change the service's own tables and groups alone", async () => {
  const files = globSync("docs/**/*.md");
  const found = await Promise.all(
    files.map(async (file) => {
      const writes = codeIn(await readFile(file, "utf8")).flatMap((code) =>
        [sqlThatWrites, endsSession, requestThatWrites].flatMap((pattern) => code.match(pattern) ?? []),
      );
      return writes.map((write) => `${file}: ${write.trim()}`);
    }),
  );
  expect(found.flat().length).toBeGreaterThan(10);
  expect(found.flat().filter((write) => !own.some((address) => address.test(write)))).toEqual([]);
});

const asks = (["payments", "refunds"] as const).flatMap((what) => [
  // The bank did not answer: the provider keeps what it knew before, and says why.
  { what, answer: { status: "pending", error_code: "504" }, says: "unknown: 504" },
  { what, answer: { status: "failed", error_code: "card_declined" }, says: "failed" },
]);
const withJq = await needs("bash", "curl", "jq");
it.each(asks)("asks the bank about $what, and says $says to $answer", withJq, async ({ what, answer, says }) => {
  const page = what === "payments" ? pages.VezaLedgerStuckOrders : pages.VezaLedgerStuckRefunds;
  const command = codeIn(page ?? "").find((code) => code.includes("force_sync")) ?? "";
  const asked: string[] = [];
  const bank = await httpServer(({ method, url = "" }, response) => {
    asked.push(`${method} ${url}`);
    response.end(JSON.stringify(answer));
  });
  const here = command.replaceAll("https://api.hyperswitch.io", bank).replace("…", "1");
  const { stdout } = await promisify(execFile)("bash", ["-c", here], {
    env: { ...process.env, HYPERSWITCH_API_KEY: "key" },
  });
  expect(stdout).toBe(`${says}\n`);
  expect(asked).toEqual([expect.stringMatching(`^GET /${what}/\\w+1\\?force_sync=true$`)]);
});

describe("the SQL", () => {
  let database: TestDatabase;
  let oncall: postgres.Sql;
  const connect = () => postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
  beforeAll(async () => {
    database = await createDatabase();
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
    await makeAll(database.adminUrl);
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
    oncall = connect();
  });
  afterAll(() => Promise.all([oncall?.end(), database?.remove()]));

  it.each(checks)("of $id lists and counts the rows that it is about, in one query", async (check) => {
    const [list = ""] = sqlIn(pages[alertOf(check)]);
    const before = await database.admin.unsafe(`select max(id) as id from ${check.table}`);
    await database.admin.unsafe(insertRows(check, 2));
    onTestFinished(async () => {
      await database.admin.unsafe(`delete from ${check.table} where id > ${before[0]?.id}`);
    });
    const rows = await oncall.unsafe(list);
    expect(rows).not.toHaveLength(0);
    expect(Object.values(rows[0] ?? {}).map(Number)[0]).toBe(rows.length);
    expect(rows[0]).toHaveProperty("id");
    expect(list).toContain("YOUR_AMOUNT_COLUMN");
    // Where a schema has amounts, and the role may read them. The primary key stands in for the column.
    const withSum = list.replaceAll(/-- ,/g, ",").replaceAll("YOUR_AMOUNT_COLUMN", "id");
    expect(Number((await oncall.unsafe(withSum))[0]?.amount)).toBeGreaterThan(0);
  });

  it("of VezaLedgerOrphanRefunds lists refunds that the reconciler has failed, beside pending refunds", async () => {
    const rows = await oncall.unsafe(sqlIn(pages.VezaLedgerOrphanRefunds)[0] ?? "");
    expect(rows.map(({ status }) => status).sort()).toEqual(["failed", "pending", "pending", "pending"]);
  });

  it("of VezaLedgerRowsTooOld lists what has waited for over a day", async () => {
    const [list = ""] = sqlIn(pages.VezaLedgerRowsTooOld);
    expect(await oncall.unsafe(list)).toMatchObject([{ check: "stuck_refunds" }]);
  });

  it("runs as veza_ledger_oncall, all of it", async () => {
    for (const sql of Object.values(pages).flatMap(sqlIn)) {
      const login = sql.includes("update public.ledger_metrics_outbox") ? database.admin : oncall; // The reconciler's.
      await expect(login.unsafe(sql), sql).resolves.toBeDefined();
    }
  });

  it("of the pages lets people on call accept a row, list what is accepted, and take it back", async () => {
    const [list = "", takeBack = ""] = sqlIn(pages.README);
    for (const { id } of checks) {
      const accept = sqlIn(pages[alertOf({ id })]).find((sql) => sql.includes("ledger_metrics.accepted"));
      expect(accept, `docs/runbook/${alertOf({ id })}.md: a statement that accepts a row`).toBeDefined();
      await oncall.unsafe(accept ?? "");
      expect(await oncall.unsafe(list)).toContainEqual(expect.objectContaining({ check: id, id: "ID" }));
      await oncall.unsafe(takeBack.replace("stuck_refunds", id));
    }
    expect(await oncall.unsafe(list)).toEqual([]);
  });

  it("shows who holds a lock or waits for it, and what they do, and nobody in a copy of the database", async () => {
    const copy = await databaseForTest(); // From the same template: its tables have the same object ids.
    await lockTable(copy, "orders");
    const forgotten = await database.admin.reserve();
    await forgotten.unsafe("begin; select from orders; prepare transaction 'checkout-1'");
    await forgotten.unsafe("begin; select from orders");
    const locking = lockTable(database, "orders"); // It waits, and the counts behind it.
    const [sql = ""] = sqlIn(pages.reasons);
    await expect
      .poll(() => oncall.unsafe(sql))
      .toMatchObject([
        { locked: "orders", granted: true, state: "prepared: checkout-1 of postgres" },
        { locked: "orders", granted: true, state: "idle in transaction" },
        { mode: "AccessExclusiveLock", granted: false, query: expect.stringContaining("lock table orders") },
      ]);
    await forgotten.unsafe("rollback");
    await forgotten.unsafe("rollback prepared 'checkout-1'");
    forgotten.release();
    await (await locking)();
  });

  it.each([
    ["update orders set status = 'paid'", "cannot execute UPDATE in a read-only transaction"],
    ["begin read write; update orders set status = 'paid'", "permission denied for table orders"],
    ["begin read write; delete from ledger_metrics.deliveries", "permission denied for table deliveries"],
    ["select pg_sleep(20)", "canceling statement due to statement timeout"],
  ])("changes nothing and ends: %s", async (statement, message) => {
    const session = connect();
    await expect(session.unsafe(statement)).rejects.toThrow(message);
    await session.end();
  });
});
