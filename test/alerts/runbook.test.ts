// The entries of the runbook: their order, and every command and statement of SQL as people on call run it.
import { globSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { tables } from "../../commands/declared-rights.ts";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { alertOf } from "../../config/words-of-checks.ts";
import { checks } from "../../lib/counts/checks.ts";
import { sampleTimestampMetric } from "../../lib/counts/sample.ts";
import { log, writeLogWith } from "../../lib/log.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { type Running, startPrometheus, startPushgateway } from "../../local/programs.ts";
import { startAlertmanager } from "../helpers/alertmanager.ts";
import { createDatabase, databaseForTest, lockTable, type TestDatabase } from "../helpers/database.ts";
import { findProgram } from "../helpers/find-program.ts";
import { insertRows } from "../helpers/models.ts";
import { resultOf, setGroup } from "../helpers/monitoring.ts";
import { needs } from "../helpers/needs.ts";
import { block, type Filled, fillIn, names, paste } from "../helpers/on-call.ts";
import { blocksOf } from "../helpers/pages.ts";
import { shippedAlerts } from "../helpers/rules.ts";
import { httpServer } from "../helpers/servers.ts";

const folder = "docs/runbook";
/** The pages by their names, without `.md`. A page about an alert has the alert's name. */
const pages: Record<string, string> = {};
/** Their blocks of shell. */
const shell: Record<string, string[]> = {};
for (const file of await readdir(folder)) {
  const { name } = path.parse(file);
  pages[name] = await readFile(path.join(folder, file), "utf8");
  shell[name] = await blocksOf(path.join(folder, file), "sh");
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
    expect(order, alert).toEqual(["What it means", "Now", "Impact", "Wait or act", "Fixed when", "Escalation"]);
    const [, firstParagraph = ""] = page.split("\n\n");
    const named = [...firstParagraph.toLowerCase().matchAll(/\*\*(page|ticket)\.\*\*/g)].map(([, name]) => name);
    expect(new Set(named), alert).toEqual(ofAlert);
    const [, before = "", firstStep = ""] = /^## Now\n\n(.*)\n\n1\. ([\s\S]*?)\n(?:2\. |## )/m.exec(page) ?? [];
    expect(before, alert).toMatch(/^First paste \[this block\]\(README\.md#have-these-at-hand\) into a shell/);
    expect(before.includes("SQL goes into"), alert).toBe(page.includes("```sql"));
    expect(firstStep, alert).toMatch(/```(sql|sh)\n/);
    if (ofAlert.size > 0) expect(/^## Fixed when\n([\s\S]*?)^## /m.exec(page)?.[1], alert).toMatch(/\bresolves\b/);
  }
});

it("asks nothing by curl without a limit", () => {
  const asks = Object.values(shell).flatMap((commands) => commands.join("").match(/\bcurl -.*/g) ?? []);
  expect(asks.length).toBeGreaterThan(5);
  expect(asks.filter((ask) => !/ -m \d+ /.test(ask))).toEqual([]);
});

it("has one place to fill in: no other line of an entry has an address, a name or a column to replace", () => {
  const toReplace = /example\.(?:com|org)|\blocalhost\b|\b127\.0\.0\.1\b|\b(?:HOST|DATABASE|ID|WHY|YOUR_\w+)\b|…|<\w+>/;
  const commands = Object.entries(pages).flatMap(([name, page]) =>
    [...sqlIn(page), ...(shell[name] ?? [])].filter((code) => code !== block).map((code) => [name, code] as const),
  );
  expect(commands.length).toBeGreaterThan(40);
  expect(commands.filter(([, code]) => toReplace.test(code))).toEqual([]);
  expect(toReplace.test(fillIn(Object.fromEntries(names.map((name) => [name, "x"])) as Filled))).toBe(false);
});

/** Blocks of code and code in sentences, with each command on one line. */
const codeIn = (page: string): string[] =>
  [...page.matchAll(/^( *)```\w*\n([\s\S]*?)^\1```|`([^`\n]+)`/gm)].map(([, , block, inline = ""]) =>
    (block ?? inline).replaceAll(/\\\n\s*/g, ""),
  );
const sqlThatWrites =
  /(?<!\b(?:do|for|apt-get) )\b(?:insert into|update|delete from|merge into|truncate|alter table|drop table) \S+/gi;
const endsSession = /pg_(?:terminate|cancel)_backend/g;
const requestThatWrites =
  /.*\bcurl\b(?! -\w*G )[^|&)]* -(?:\w*[XdFT]|-(?:request|data|json)).*|\b(?:POST|PUT|PATCH|DELETE) \/.*/g;
/** The service's own tables, its groups on the gateway, and its own receiver. */
const own = [
  / (public\.)?ledger_metrics(\.\w+|_outbox)$/,
  /"\$PUSHGATEWAY_URL\/metrics\/job\//,
  /"\$(drill|url|GROUP_URL)"/,
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
  expect(found.flat().length).toBeGreaterThan(5);
  expect(found.flat().filter((write) => !own.some((address) => address.test(write)))).toEqual([]);
});

const asks = (["payments", "refunds"] as const).flatMap((what) => [
  // The bank did not answer: the provider keeps what it knew before, and says why.
  { what, answer: { status: "pending", error_code: "504" }, says: "unknown: 504" },
  { what, answer: { status: "failed", error_code: "card_declined" }, says: "failed" },
]);
const none = Object.fromEntries(names.map((name) => [name, ""])) as Filled;
const withAsk = await needs("bash", "curl", "jq");
it.each(asks)("asks the bank about $what, and says $says to $answer", withAsk, async (ask) => {
  const page = ask.what === "payments" ? shell.VezaLedgerStuckOrders : shell.VezaLedgerStuckRefunds;
  const command = page?.find((code) => code.startsWith("ask ")) ?? "";
  const asked: unknown[] = [];
  const bank = await httpServer(({ method, url, headers }, response) => {
    asked.push([method, url, headers["api-key"]]);
    response.end(JSON.stringify(ask.answer));
  });
  const printed = await paste({ ...none, HYPERSWITCH_URL: bank }, command, { answers: ["id_1"] });
  expect(printed).toMatch(new RegExp(`: ${ask.says}\\n$`));
  expect(asked).toEqual([["GET", `/${ask.what}/id_1?force_sync=true`, "key"]]);
});

it("asks nobody about what is no id, and tells a wrong key or id from a bank that is silent", withAsk, async () => {
  const asked: unknown[] = [];
  const bank = await httpServer(({ url }, response) => {
    asked.push(url);
    response.writeHead(404).end('{"error":{"code":"HE_02"}}');
  });
  const ask = (id: string) => paste({ ...none, HYPERSWITCH_URL: bank }, "ask payments", { answers: [id] });
  for (const id of ["", "../refunds/x", "a b", "id?x=1"]) {
    await expect(ask(id), id).rejects.toThrow("Nobody was asked: this is no id.");
  }
  expect(asked).toEqual([]);
  await expect(ask("id_2")).rejects.toThrow(/error: 404\n.*or 404 \(the id is wrong\)/);
});

describe("the SQL", () => {
  let database: TestDatabase;
  let oncall: postgres.Sql;
  const connect = () => postgres(database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall:oncall@"), { max: 1 });
  beforeAll(async () => {
    database = await createDatabase();
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
    await runSqlFiles(database.adminUrl, setUp);
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

  it.each(checks)("of $id lists the rows that it is about, and its page has no list of its own", async (check) => {
    const [list = ""] = sqlIn(pages[alertOf(check)]);
    expect(list).toContain(`select * from ledger_metrics.${check.id}();\n`);
    const before = await database.admin.unsafe(`select max(id) as id from ${check.table}`);
    await database.admin.unsafe(insertRows(check, 2));
    onTestFinished(async () => {
      await database.admin.unsafe(`delete from ${check.table} where id > ${before[0]?.id}`);
    });
    const lists = (await oncall.unsafe(list)) as unknown as postgres.Row[][];
    const firing = lists[0]?.filter(({ fires }) => fires).length;
    expect(firing).toBeGreaterThanOrEqual(2);
    expect(lists.at(-1)).toEqual([{ firing: String(firing), listed: String(lists[0]?.length) }]);
  });

  it("reads the ledger's tables nowhere but for rows that no check counts, and for a blind check", () => {
    const ledgerTables = new RegExp(`\\bfrom (?:${tables.join("|")})\\b`);
    const reads = Object.entries(pages).filter(([, page]) => sqlIn(page).some((sql) => ledgerTables.test(sql)));
    expect(reads.map(([name]) => name).sort()).toEqual(["VezaLedgerCheckBlind"]);
  });

  it("of VezaLedgerOrphanRefunds lists refunds that the reconciler has failed, beside pending refunds", async () => {
    const lists = await oncall.unsafe(sqlIn(pages.VezaLedgerOrphanRefunds)[0] ?? "");
    expect((lists as unknown as unknown[][]).map((list) => list.length)).toEqual([3, 1, 1]);
  });

  it("of VezaLedgerOutboxStuck finds the outbox where the ledger is in another schema", async () => {
    const [list = ""] = sqlIn(pages.VezaLedgerOutboxStuck);
    await expect(
      oncall.unsafe(`begin; set local search_path = pg_catalog, shop; ${list} commit`),
    ).resolves.toBeDefined();
  });

  it("of VezaLedgerRowsTooOld lists what has waited for over a day, or has no time", async () => {
    const [list = ""] = sqlIn(pages.VezaLedgerRowsTooOld);
    await database.admin.unsafe("alter table seller_transfers alter updated_at drop not null");
    const without = await database.admin.unsafe(`insert into seller_transfers (status, updated_at)
      values ('permanently_failed', null) returning id`);
    onTestFinished(async () => {
      await database.admin.unsafe(`delete from seller_transfers where id = ${without[0]?.id}`);
    });
    const lists = (await oncall.unsafe(list)) as unknown as unknown[][];
    const [ofRefunds, ofTransfers, ...others] = lists.map((rows) => rows.length);
    expect([ofRefunds, ofTransfers, ...new Set(others)]).toEqual([1, 1, 0]); // The transfer has no time: +Inf.
  });

  it("of the README counts by hand what the sampler counts", async () => {
    const [byHand = ""] = sqlIn(pages.README);
    const counted = (await oncall.unsafe(byHand)) as unknown as { check: string; rows: string }[][];
    expect(Object.fromEntries(counted.map(([row]) => [row?.check, Number(row?.rows)]))).toEqual({
      ...Object.fromEntries(checks.map(({ id }) => [id, expect.any(Number)])),
      stuck_orders: 1,
      stuck_refunds: 2,
      orphan_refunds: 3,
      failed_transfers: 1,
      pending_reversals: 1,
    });
  });

  it("of VezaLedgerCheckBlind lists rows without a time, or ahead, whatever their check", async () => {
    const list = sqlIn(pages.VezaLedgerCheckBlind).at(-1) ?? "";
    await database.admin.unsafe("alter table refunds alter created_at drop not null");
    const outside = await database.admin.unsafe(`
      with ahead as (insert into orders (status, hyperswitch_payment_id, created_at)
        values ('pending', 'p', now() + interval '1 hour') returning id)
      insert into refunds (status, created_at) select 'pending', null from ahead returning id`);
    onTestFinished(async () => {
      await database.admin.unsafe(`delete from refunds where id = ${outside[0]?.id};
        delete from orders where created_at > now()`);
    });
    expect((await oncall.unsafe(list)).map(({ check }) => check)).toEqual(["orphan_refunds", "stuck_orders"]);
  });

  it("runs as veza_ledger_oncall, all of it", async () => {
    for (const sql of Object.values(pages).flatMap(sqlIn)) {
      const login = sql.includes("update public.ledger_metrics_outbox") ? database.admin : oncall; // The reconciler's.
      await expect(login.unsafe(sql), sql).resolves.toBeDefined();
    }
  });

  it("of the first day accepts a backlog, renews it by the same moment, takes it back, and shows who did", async () => {
    const [, renew = "", takeBack = "", accept = "", record = ""] = sqlIn(await readFile("docs/first-day.md", "utf8"));
    const [, inForce = ""] = sqlIn(pages.README);
    await expect(oncall.unsafe(accept.replace("'')", "'x')"))).rejects.toThrow("there is no such check");
    await oncall`rollback`;
    for (const { id } of checks) {
      const ofCheck = (sql: string) => oncall.unsafe(sql.replace(/(?<=values \(|"check" = )''/, `'${id}'`));
      await expect(ofCheck(accept)).rejects.toThrow("why is empty");
      await oncall`rollback`;
      await ofCheck(accept.replace("'')", "'carts of before 2026')"));
      const [accepted] = await oncall.unsafe(inForce);
      await ofCheck(renew);
      const [renewed] = await oncall.unsafe(inForce);
      expect(renewed).toMatchObject({ check: id, up_to: accepted?.up_to, why: "carts of before 2026" });
      await expect(ofCheck(takeBack)).rejects.toThrow("why is empty");
      await oncall`rollback`;
      await ofCheck(takeBack.replace("now(), ''", "now(), 'closed'"));
      expect(await oncall.unsafe(inForce)).toEqual([]);
      const [last] = await oncall.unsafe(record);
      expect(last).toMatchObject({ check: id, accepted_by: "veza_ledger_oncall", why: "closed" });
    }
    const moments = (await oncall.unsafe(record)).filter(({ up_to }) => up_to);
    expect(moments).toHaveLength(3 * checks.length);
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

const withShell = await needs("bash", "curl", "jq", "psql");
describe("the commands", withShell, () => {
  let database: TestDatabase;
  let filled: Filled;
  /** A folder with no checkout, and the programs that people on call have. */
  let folder: string;
  const running: { stop(): Promise<unknown> | undefined }[] = [];
  const tools = ["bash", "cat", "curl", "grep", "jq", "psql", "sleep", "sort", "tail", "uniq"];

  beforeAll(async () => {
    if (withShell.skip) return;
    folder = await mkdtemp(path.join(tmpdir(), "on-call-"));
    await mkdir(path.join(folder, "bin"));
    for (const tool of tools) await symlink((await findOnPath([tool])) ?? "", path.join(folder, "bin", tool));
    await symlink((await findProgram("amtool")).file, path.join(folder, "bin/amtool"));
    await writeFile(path.join(folder, "log"), logLines());
    await writeFile(path.join(folder, "bin/journalctl"), journalctl, { mode: 0o755 });
    await writeFile(path.join(folder, "bin/aws"), aws, { mode: 0o755 });

    database = await createDatabase();
    await runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
    await runSqlFiles(database.adminUrl, setUp);
    await database.admin.unsafe("alter role veza_ledger_oncall password 'oncall'");
    const [gateway, alertmanager] = await Promise.all([
      startPushgateway(0),
      startAlertmanager(0, "{ route: { receiver: nobody }, receivers: [{ name: nobody }] }"),
    ]);
    running.push(gateway, alertmanager);
    await setGroup(gateway.url, "veza_ledger", "prod", [`${sampleTimestampMetric} 1`]);
    const urls = { pushgatewayUrl: gateway.url, alertmanagerUrl: alertmanager.url };
    const prometheus: Running = await startPrometheus(0, { ...urls, rules: "groups: []", interval: "1s" });
    running.push(prometheus);
    await vi.waitFor(async () => expect(await resultOf(prometheus.url, sampleTimestampMetric)).toHaveLength(1), 60_000);
    filled = {
      STAGE: "prod",
      AWS_REGION: "",
      PGSSLMODE: "disable",
      PROMETHEUS_URL: prometheus.url,
      ALERTMANAGER_URL: alertmanager.url,
      PUSHGATEWAY_URL: gateway.url,
      HYPERSWITCH_URL: `${gateway.url}/-/ready?`, // Anything that answers: its own test is above.
      DATABASE_URL: database.adminUrl.replace(/\/\/.*@/, "//veza_ledger_oncall@"),
    };
  });
  afterAll(async () => {
    for (const part of running.reverse()) await part.stop();
    await database?.remove();
  });

  const isAccept = (code: string) =>
    new RegExp(`^accept (?:${checks.map(({ id }) => id).join("|")}) '\\d+ \\w+'\n$`).test(code);
  const pasted = (command: string, more: { on?: Partial<Filled>; answers?: string[] } = {}) =>
    paste({ ...filled, ...more.on }, command, {
      cwd: folder,
      path: path.join(folder, "bin"),
      answers: more.answers ?? [],
    });

  it("accept rows, pasted in one line or in several, and take them back, whatever the reason and the ids are", async () => {
    const takeBack = shell.README?.find((code) => code.startsWith("accept "));
    const accepted = async (id: string) => {
      const rows = await database.admin.unsafe(`select * from ledger_metrics.${id}() where accepted_until > now()`);
      return rows.map((row) => [row.id, row.accepted_because]).sort();
    };
    for (const check of checks) await database.admin.unsafe(insertRows(check, 3));
    for (const table of new Set(checks.map((check) => check.table))) {
      await database.admin.unsafe(`alter table ${table} alter id drop identity; alter table ${table} alter id type text;
        update ${table} set id = 'it''s"$HOME' || id`);
    }
    for (const { id } of checks) {
      const accept = shell[alertOf({ id })]?.find((code) => code.startsWith("accept "));
      expect(accept, `docs/runbook/${alertOf({ id })}.md: a line that accepts a row`).toMatch(`accept ${id} `);
      const rows = await database.admin.unsafe(`select id from ledger_metrics.${id}()`);
      const [first, second, third] = rows.map((row) => String(row.id));
      const why = "the bank's $HOME";
      const written = await pasted(accept ?? "", { answers: [`${first}, ${second}`, `${third}`, "", why] });
      expect(written).toMatch(new RegExp(`ids of ${id},[^]*since[^]*${why.replace("$", "\\$")}`));
      expect(await accepted(id)).toEqual([first, second, third].sort().map((each) => [each, why]));
      const answers = [`${first}`, `${second}`, `${third}`, "", "paid"];
      await pasted((takeBack ?? "").replace("stuck_refunds", id), { answers });
      expect(await accepted(id)).toEqual([]);
    }
    const refused = (command: string, ...answers: string[]) => pasted(command, { answers });
    const [row] = await database.admin`select id from ledger_metrics.stuck_orders()`;
    for (const span of ["'8'", ""]) {
      await expect(refused(`accept stuck_orders ${span}`, row?.id, "", "x")).rejects.toThrow("For how long?");
    }
    await expect(refused("accept stuck_orders '15 days'", row?.id, "", "x")).rejects.toThrow(/14 days at most/);
    await expect(refused("accept stuck_orders '1 day'", row?.id, "", "")).rejects.toThrow(/the reason is empty/);
    await expect(refused("accept stuck_orders '1 day'", "4711", "", "x")).rejects.toThrow(/does not count 4711/);
    await expect(refused("accept stuck_orders '1 day'", "", "x")).rejects.toThrow(/the list of ids is empty/);
  });

  it("open psql, and accept, in a database of the block's stage alone", async () => {
    await database.admin`insert into ledger_metrics.stage (stage) values ('staging')`;
    onTestFinished(() => database.admin`delete from ledger_metrics.stage`.then(() => {}));
    const another = "STAGE is 'prod', and DATABASE_URL is of 'the stage staging'";
    await expect(pasted("sql", { answers: ["select 40 + 2"] })).rejects.toThrow(another);
    await expect(pasted("accept stuck_orders '1 day'", { answers: ["1", "", "x"] })).rejects.toThrow(another);
    await database.admin`update ledger_metrics.stage set stage = 'prod'`;
    expect(await pasted("sql", { answers: ["select 40 + 2"] })).toContain("42");
  });

  it("ask Prometheus, and silence one alert of this stage, once", async () => {
    expect(await pasted("query veza_ledger_sample_timestamp_seconds")).toMatch(/1 {2}\{.*"stage":"prod"/);
    const silences = async () => {
      const answer = await fetch(`${filled.ALERTMANAGER_URL}/api/v2/silences`);
      const all = (await answer.json()) as { status: { state: string }; matchers: { name: string; value: string }[] }[];
      const active = all.filter(({ status }) => status.state === "active");
      return active.map(({ matchers }) => matchers.map(({ name, value }) => `${name}=${value}`).sort());
    };
    for (const matchers of ["", "check=stuck_orders", "alertname=~VezaLedger.+"]) {
      await expect(pasted(`silence 8h ${matchers}`), matchers).rejects.toThrow("Nothing is silenced. Which alert?");
    }
    const ofNoCheck = "silence 2h alertname=VezaLedgerCheckFailing";
    await expect(pasted(ofNoCheck)).rejects.toThrow("Nothing is silenced. Which check?");
    expect(await silences()).toEqual([]);
    await pasted(`${ofNoCheck} check=stuck_orders`);
    expect(await silences()).toEqual([["alertname=VezaLedgerCheckFailing", "check=stuck_orders", "stage=prod"]]);
    await pasted(ofNoCheck.replace("2h", "0h"));
    expect(await silences()).toEqual([]);
    for (const _ of ["first", "second"]) {
      const printed = await pasted("silence 8h alertname=VezaLedgerStuckRefunds");
      expect(printed).toContain("No alert that fires now is silenced by this.");
    }
    const ofRefunds = ["alertname=VezaLedgerStuckRefunds", "stage=prod"];
    expect(await silences()).toEqual([ofRefunds]);
    await pasted("silence 8h alertname=VezaLedgerAlertsFail");
    expect((await silences()).sort()).toEqual([["alertname=VezaLedgerAlertsFail", "stage="], ofRefunds]);
    for (const alert of ["AlertsFail", "StuckRefunds"]) await pasted(`silence 0h alertname=VezaLedger${alert}`);
    expect(await silences()).toEqual([]);
    const down = { on: { ALERTMANAGER_URL: "http://127.0.0.1:9" } };
    for (const span of ["0h", "8h"]) {
      const command = `silence ${span} alertname=VezaLedgerStuckRefunds`;
      await expect(pasted(command, down), span).rejects.toThrow("No silence is changed.");
    }
  });

  it("ask the gateway, and say that nobody was asked where the block has no address of it", async () => {
    expect(await pasted("gateway /-/ready")).toContain("OK");
    await expect(pasted("gateway /-/ready", { on: { PUSHGATEWAY_URL: "" } })).rejects.toThrow(
      /The gateway was not asked, and may be up: PUSHGATEWAY_URL is empty in this block\.\n$/,
    );
    const bySelf = Object.values(shell).flatMap(
      (commands) => commands.join("").match(/\bcurl .*PUSHGATEWAY_URL.*/g) ?? [],
    );
    // The function's own, and those that delete.
    expect(bySelf.filter((line) => !line.includes('"$PUSHGATEWAY_URL$1"') && !line.includes("-X DELETE"))).toEqual([]);
  });

  it("delete no stage to which somebody still pushes", async () => {
    const retire = shell.VezaLedgerSamplerSilent?.find((code) => code.includes("DELETE")) ?? "";
    const push = `curl -sSf -m 10 --data-binary $'# TYPE x gauge\\nx 1\\n' "$PUSHGATEWAY_URL/metrics/job/veza_ledger/stage/prod"`;
    const printed = await pasted(
      retire.replace("sleep 120", () => push),
      { answers: ["prod", "yes"] },
    );
    expect(printed).toContain("Nothing is deleted: a function still pushes to this stage.");
    const shown = await fetch(`${filled.PUSHGATEWAY_URL}/metrics`);
    expect(await shown.text()).toMatch(/^veza_ledger_sample_timestamp_seconds\{.*stage="prod"/m);
    await expect(pasted(retire.replace("sleep 120", "sleep 0"), { answers: ["another", "yes"] })).rejects.toThrow();
  });

  it("of the doctor counts on the ledger, from a checkout", async () => {
    const ofPeople = await blocksOf("docs/people-on-call.md", "sh");
    const doctor = ofPeople.find((code) => code.includes("npm run doctor")) ?? "";
    await expect(paste(filled, doctor)).resolves.toMatch(/stuck_orders/);
  });

  it("are of a stage, which the block names; as it is shipped, it asks for nothing, and says so", async () => {
    expect(await pasted("echo ready")).toMatch(/^Password of veza_ledger_oncall, stage prod: \n/);
    expect(await pasted("echo ready", { on: { STAGE: "" } })).toMatch(/^Password of veza_ledger_oncall: \n/);
    const asShipped = { ...filled, DATABASE_URL: /(?<=^export DATABASE_URL=).*$/m.exec(block)?.[0] ?? "" };
    const printed = await paste(asShipped, "echo ready");
    expect(printed).toBe("Nobody has filled in this block. Paste the copy of your team.\nready\n");
  });

  const withoutCheckout = Object.entries(shell).flatMap(([name, commands]) =>
    commands
      .filter((code) => code !== block && !code.startsWith("ask ") && !isAccept(code))
      // VezaLedgerSamplerSilent deletes a stage's groups last, and waits in between.
      .map((command) => ({ name, command: command.replace("sleep 120", "sleep 0") })),
  );
  const readsAws = /^(?:aws|logs)\b|\blogs /m;
  const inTurn = withoutCheckout.toSorted(
    (a, b) => Number(/DELETE/.test(a.command)) - Number(/DELETE/.test(b.command)),
  );
  it.each(inTurn)("of $name work where nothing is but the block and the tools: $command", async ({ name, command }) => {
    const onAws = { AWS_REGION: "eu-central-1" };
    const second = name === "VezaLedgerSamplerSilent" ? "yes" : "a test";
    const answers = [name === "reasons" ? "sweep-1" : "prod", second];
    // The log is read on AWS and without.
    const places = readsAws.test(command) ? (command.startsWith("aws ") ? [onAws] : [onAws, {}]) : [{}];
    for (const on of places) await expect(pasted(command, { on, answers }), command).resolves.toBeDefined();
  });

  it("of reasons list each reason whole, with its code, from a log of Lambda's, too", async () => {
    const [list = ""] = shell.reasons ?? [];
    const line = '1 42703 column "status" does not exist\n';
    expect(await pasted(list)).toMatch(line);
    // Lambda puts a line of ours into a JSON object of its own, and `aws logs tail` a time before it.
    const reason = 'column \\"status\\" does not exist';
    const ofLambda = `2026-01-31T12:00:00 {"level":"ERROR","message":{"message":"check failed","code":"42703","reason":"${reason}"}}`;
    expect(await pasted(`logs() { echo '${ofLambda}'; }; ${list}`)).toMatch(line);
  });
});

/** Lines of the functions' log, one for each message that an entry looks for. A message that is gone has no type. */
function logLines(): string {
  const lines: string[] = [];
  const earlier = writeLogWith(
    (level, message, fields) => void lines.push(JSON.stringify({ level, message, ...fields })),
  );
  const failure = { code: "42703", reason: 'column "status" does not exist' };
  log("info", "tick", { duration_seconds: 0.1, stuck_orders: 1 });
  log("error", "check failed", { check: "stuck_orders", ...failure });
  log("info", "rows counted", { check: "stuck_orders", ids: ["1"] });
  log("info", "rows counted", { check: "orphan_refunds", ids: ["1"] });
  log("warn", "evidence not read", { of: "rows", ...failure });
  log("warn", "counters held", { by: { veza_reconciler_orphan_refunds_total: 1 } });
  log("warn", "totals not published", { reason: "the Pushgateway answered 400" });
  log("error", "delivery not confirmed", { id: "sweep-1", ...failure });
  writeLogWith(earlier);
  return `${lines.join("\n")}\n`;
}

/** It has this unit, and takes such times. */
const journalctl = `#!/bin/bash
[[ "$*" =~ ^'-u veza-ledger-metrics --since -'[0-9]+[hmd]' -o cat'$ ]] && cat "\${0%/*}/../log"
`;
/** It has the log groups and the alarms of a stage. */
const aws = `#!/bin/bash
case "$*" in
  "logs tail /aws/lambda/veza-ledger-metrics-prod-"*"er --since "*" --format short") cat "\${0%/*}/../log" ;;
  "cloudwatch describe-alarms --alarm-name-prefix veza-ledger-metrics-prod --state-value ALARM "*) ;;
  *) exit 1 ;;
esac
`;
