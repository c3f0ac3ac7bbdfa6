// The first day: what was there when the service was installed pages nobody, and is shown.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import postgres from "postgres";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks } from "../../lib/counts/checks.ts";
import { createDatabase, serverForFile, type TestDatabase, targetOf } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { needs } from "../helpers/needs.ts";
import { evidenceOf } from "../helpers/sample.ts";

const server = await serverForFile(); // Of its own: an installation changes roles, which all databases share.
let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase(server);
  onTestFinished(() => database.remove());
});
const run = (statements: string) => database.admin.unsafe(statements);
const install = () => runSqlFiles(database.adminUrl, setUp);
/** How many rows of all checks a tick has as this. */
async function sumOf(metric: "accepted_rows" | "overdue_rows"): Promise<number> {
  const series = await evidenceOf(database.samplerUrl, new RegExp(`^${metric}`));
  return Object.values(series).reduce((sum, value) => sum + value, 0);
}
const old = `${insertRows({ id: "stuck_orders" }, 3_000, { age: "400 days" })}
  ${insertRows({ id: "failed_transfers" }, 2, { age: "30 days" })}
  ${insertRows({ id: "orphan_refunds" }, 1, { age: "7 minutes" })}
  ${insertRows({ id: "stuck_refunds" }, 1, { age: "31 minutes" })}`;
/** As if it had begun 14 days earlier. */
const end = () =>
  run(`update ledger_metrics.accepted set up_to = up_to - interval '337 hours', until = until - interval '337 hours',
    accepted_at = accepted_at - interval '337 hours'`);
const acceptances = () => database.admin`select * from ledger_metrics.accepted`;

it("accepts what is there, for 14 days: the first tick has no overdue row, and a newer row fires", async () => {
  await run(`drop schema ledger_metrics cascade; ${old}`);
  await install();
  expect([await sumOf("overdue_rows"), await sumOf("accepted_rows")]).toEqual([0, 3_004]);
  const days = await database.admin`select "check", extract(day from until - up_to)::int * 24
      + extract(hour from until - up_to)::int as hours, why, accepted_by from ledger_metrics.accepted`;
  const why = "was there when the service was installed";
  expect(days).toEqual(checks.map(({ id }) => ({ check: id, hours: 336, why, accepted_by: "postgres" })));
  // Two hours ago, instead of a wait.
  await run(`update ledger_metrics.accepted
      set up_to = up_to - interval '2 hours', accepted_at = accepted_at - interval '2 hours'`);
  await run(insertRows({ id: "stuck_orders" }, 1, { age: "41 minutes" }));
  await run(insertRows({ id: "orphan_refunds" }, 1, { age: "11 minutes" }));
  expect(await sumOf("overdue_rows")).toBe(2);
});

describe("says how many rows these are", await needs("psql"), () => {
  const installed = async (schema = "public") => {
    const options = ["-X", "-v", "ON_ERROR_STOP=1", "-v", `schema=${schema}`];
    const files = setUp.flatMap((file) => ["-f", file]);
    const { stderr } = await promisify(execFile)("psql", [...options, ...files, database.adminUrl]);
    expect(stderr).not.toContain("ran as");
    const said = stderr.replaceAll(/^psql:\S+ /gm, "").replace(/\d{4}-\d\d-\d\d/, "DAY");
    expect(said.split("\n").filter((line) => line.length > 80)).toEqual([]); // As wide as a terminal.
    return said.trim().split("\n");
  };
  const firstDay = "INFO:  the first day";
  const uncounted = [firstDay, "Rows that were there before this service fire no alert until DAY."];
  const lists = [
    "HINT:  This lists them, as veza_ledger_oncall, which docs/first-day.md explains:",
    "  select * from ledger_metrics.stuck_orders() where accepted_until > now();",
  ];

  it("once", async () => {
    await run(`drop schema ledger_metrics cascade; ${old}`);
    expect(await installed()).toEqual([
      firstDay,
      "These rows were there before this service, and fire no alert until DAY:",
      ...["  3000 of stuck_orders", "  1 of stuck_refunds", "  2 of failed_transfers", "  1 of orphan_refunds"],
    ]);
    expect(await installed()).toEqual([""]);
  });

  it("where there is none, and where there are indexes", async () => {
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    await run("drop schema ledger_metrics cascade; create index on orders (lower(status)) where id > 0");
    expect(await installed()).toEqual([firstDay, "No check counts a row that was there before this service."]);
  });

  const couldRun = "They are not counted here, since that could run code of the application.";
  it("unless there are several schemas, of which one may get a table at any time", async () => {
    await run("drop schema ledger_metrics cascade; create schema views");
    expect(await installed("views,public")).toEqual([...uncounted, couldRun, ...lists]);
  });

  it("where they cannot be counted", async () => {
    await run("drop schema ledger_metrics cascade");
    await run("alter table orders alter created_at drop default, alter created_at type text");
    expect(await installed()).toEqual([...uncounted, "To count them here has failed, or took too long.", ...lists]);
  });

  const trap = `create function trap(anyelement) returns boolean immutable language plpgsql as $$ begin
    if current_user = 'postgres' and current_setting('ledger_metrics.transaction', true) <> '' then
      raise warning 'ran as %', current_user;
    end if;
    return true; end $$;`;
  it.each([
    ["a view", "alter table orders rename to kept; create view orders as select * from kept where trap(id)"],
    ["an index by a function", "create index on orders (trap(1))"],
    ["an index whose predicate is a function", "create index on orders (id) where trap(1)"],
    [
      "an index by an operator",
      `create operator ### (rightarg = anyelement, function = trap); create index on orders ((### 1))`,
    ],
    ["a constraint", "alter table orders add check (trap(1))"],
    ["policies", "alter table orders enable row level security; create policy p on orders using (trap(id))"],
    ["a type of the application's", "create domain state as text; alter table orders alter status type state"],
    ["a partition", "create table part (check (trap(1))) inherits (orders)"],
    ["statistics", "create statistics s on (trap(1)::int + id), status from orders"],
  ])("unless there is %s: it runs nothing of the application's", async (what, made) => {
    const [server] = await database.admin`select current_setting('server_version_num')::int as version`;
    if (what === "statistics" && server?.version < 140_000) return;
    await run(`drop schema ledger_metrics cascade; ${trap} ${made}`);
    expect(await installed()).toEqual([...uncounted, couldRun, ...lists]);
  });
});

it("is made once: not by a second run of the files, an upgrade, or in a copy of the database", async () => {
  await run(old);
  for (const _ of ["an upgrade", "a second run"]) await install();
  expect(await acceptances()).toEqual([]);
  await run("drop schema ledger_metrics cascade");
  await install();
  await run("insert into ledger_metrics.stage (stage) values ('prod')");
  await end();
  const before = await acceptances();
  await install();
  expect(await acceptances()).toEqual(before);
  expect(await sumOf("overdue_rows")).toBe(3_002); // Two are too young.
  const { database: name } = targetOf(database.adminUrl);
  await database.admin.end();
  const sql = postgres(server, { max: 1 });
  onTestFinished(async () => {
    await sql.unsafe(`drop database ${name}_copy with (force)`);
    await sql.end();
  });
  await sql.unsafe(`create database ${name}_copy template ${name}`);
  const copy = postgres(database.adminUrl.replace(name, `${name}_copy`), { max: 1 });
  onTestFinished(() => copy.end());
  await runSqlFiles(database.adminUrl.replace(name, `${name}_copy`), setUp);
  expect(await copy`select * from ledger_metrics.accepted`).toEqual(before);
});

it.each([
  ["with rows that are not marked", ""],
  [
    "with a row of a check that is gone",
    `update ledger_metrics.accepted set "check" = 'gone' where "check" ~ 'orders';`,
  ],
])("is loaded from a dump of an earlier installation, %s, once that is upgraded", async (_, gone) => {
  await run(`drop schema ledger_metrics cascade; ${old}`);
  await install();
  const before = await acceptances();
  const [tooNew, noCheck] = ["up_to is less than a day ago: accept newer rows by their ids", "there is no such check"];
  await run(`alter table ledger_metrics.accepted drop constraint "${tooNew}", drop column is_first_day,
      drop constraint "${noCheck}";
    ${gone}
    alter table ledger_metrics.accepted
      add constraint "${tooNew}" check (up_to <= accepted_at - interval '24 hours' or until <= accepted_at) not valid,
      add constraint "${noCheck}" check ("check" <> 'gone') not valid;
    comment on constraint "${noCheck}" on ledger_metrics.accepted is 'of an earlier version'`);
  await install();
  const after = await acceptances();
  expect(after.map(({ is_first_day }) => is_first_day)).toEqual(before.map(() => true));
  if (gone) return; // Nothing loads such a row.
  await run(`create table kept as table ledger_metrics.accepted; delete from ledger_metrics.accepted;
    insert into ledger_metrics.accepted table kept; drop table kept`);
  expect(await acceptances()).toEqual(before);
});

it("is loaded from a dump into the tables of an installation, in force and when it has ended", async () => {
  await run(`drop schema ledger_metrics cascade; ${old}`);
  await install();
  for (const fires of [0, 3_002]) {
    if (fires > 0) await end();
    const before = await acceptances();
    await run(`create table kept as table ledger_metrics.accepted; delete from ledger_metrics.accepted;
      insert into ledger_metrics.accepted table kept; drop table kept`);
    expect([await acceptances(), await sumOf("overdue_rows")]).toEqual([before, fires]);
  }
});
