import { exec } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { lookAtCheck } from "../../commands/looks/check.ts";
import { lookAtServer } from "../../commands/looks/server.ts";
import { lookAtStatuses } from "../../commands/looks/statuses.ts";
import { runSqlFiles } from "../../commands/sql.ts";
import { checks, stateOf } from "../../lib/checks.ts";
import {
  createDatabase,
  knowsInvokerViews,
  lockTable,
  openConnection,
  type TestDatabase,
  targetOf,
} from "../helpers/database.ts";
import { doctor, fill, sceneOf } from "../helpers/doctor.ts";
import { insertRows, needs, onTable, readsProviderId } from "../helpers/models.ts";
import { startProxy } from "../helpers/proxy.ts";
import { sampleAs } from "../helpers/sample.ts";
import { startLedgerServer } from "../helpers/template.ts";

/** A server of this file's own: remedies change roles, which belong to all databases of a server. */
let serverUrl: string;
let database: TestDatabase;
/** Another ledger on the same server, whose counts no remedy may move. */
let otherStage: TestDatabase;
beforeAll(async () => {
  const server = await startLedgerServer(["-c", "wal_level=logical", "-c", "autovacuum_naptime=1"]);
  serverUrl = server.superuserUrl;
  otherStage = await createDatabase(serverUrl);
  for (const check of checks) await otherStage.admin.unsafe(insertRows(check, 7));
  return async () => {
    await otherStage.remove();
    await server.stop();
  };
});
beforeEach(async () => {
  database = await createDatabase(serverUrl);
  onTestFinished(() => database.remove());
  onTestFinished(async () => {
    expect(await sampleAs(otherStage.samplerUrl)).toMatchObject(checks.map(() => ({ count: 7 })));
  });
});

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));

describe("finds what makes a count wrong or unknown, and nothing after its remedy:", () => {
  const settings = () => ({ DATABASE_URL: database.samplerUrl, WEBHOOK_SECRET: undefined });
  const check = () => doctor(["sampler"], settings());
  const isWell = async () => expect(await check()).toMatchObject({ exitCode: 0, ill: [] });
  const whoever = "as a login that may create roles: ";
  /** Runs the statement that a remedy begins with, as the superuser. */
  const apply = (remedy = "") => run((remedy.split(";")[0] ?? "").replace(/^as [^:]*: /, ""));
  const inDatabase = () => `in database ${targetOf(database.adminUrl).database}`;
  const ofOrders = checks.filter(({ table }) => table === "orders");
  /** One line for each check of a table, as the doctor prints them. */
  const linesOf = (table: string, line: string, isAffected?: Parameters<typeof onTable>[2]) =>
    Object.entries(onTable(table, line, isAffected)).map(([id, line]) => line.replace("ID", id));
  /** The line about the checks on orders that no index serves. */
  const unserved = (mark: string) =>
    `${mark} indexes none serves ${ofOrders.map(({ id }) => id).join(", ")}: the whole table is read every minute`;
  /** Drops the indexes of the checks on orders. */
  const dropIndexes = async (isAffected?: Parameters<typeof onTable>[2]) => {
    for (const id of Object.keys(onTable("orders", 0, isAffected))) await run(`drop index if exists veza_ledger_${id}`);
  };
  /** The same indexes, on an expression in place of a column. */
  const createIndexes = async (column: string, expression: string) => {
    const replaced = (sql: string) => sql.replaceAll(new RegExp(`\\b${column}\\b`, "g"), expression);
    for (const check of ofOrders)
      await run(`create index on orders ((${replaced(check.time)})) where ${replaced(stateOf(check))}`);
  };
  const migrate = () => runSqlFiles(database.adminUrl, ["config/postgres/schema.sql", "config/postgres/roles.sql"]);
  /** What docs/what-counts.md tells to run, with another way to have a column if its table lists that. */
  async function makeView(column = "created_at", instead = "created_at") {
    const page = await readFile("docs/what-counts.md", "utf8");
    expect(page).toContain(instead);
    const sql = /create schema veza_ledger_views;[^`]*/.exec(page)?.[0] ?? "";
    for (const { time } of ofOrders) expect(sql, `docs/what-counts.md: its view has no ${time}`).toContain(time);
    await run(sql.replace(`${column}`, instead).replace("in database ledger", inDatabase()));
    await migrate();
  }
  beforeEach(() => fill(database));

  it("row-level security: a role that it does not apply to, or a view", async () => {
    await run("alter table orders enable row level security");
    const ill = await check();
    expect(ill.exitCode).toBe(1);
    const affected = '✗ check ID query would be affected by row-level security policy for table "orders"';
    expect(ill.ill).toEqual([
      "✗ table orders row-level security is on in public, so that its counts are unknown",
      ...linesOf("orders", affected),
    ]);
    expect(ill.remedies).toEqual([
      "as a superuser: alter role veza_ledger_sampler bypassrls; " +
        "or let the role read a view instead: docs/what-counts.md",
      ...linesOf("orders", "see its table, above"),
    ]);
    await run("alter role veza_ledger_sampler bypassrls");
    await isWell();
    await run("alter role veza_ledger_sampler nobypassrls");
    await makeView();
    await isWell();
    if (!(await knowsInvokerViews(database))) return;
    await run("alter view veza_ledger_views.orders set (security_invoker = true)");
    expect(await check()).toMatchObject({
      ill: [
        "✗ table orders row-level security is on in veza_ledger_views, so that its counts are unknown",
        ...linesOf("orders", affected),
      ],
      remedies: ill.remedies,
    });
  });

  it("forced row-level security, which goes for a view's owner, too", async () => {
    const owner = `owner_of_${targetOf(database.adminUrl).database}`;
    await run(
      `create role ${owner}; alter table orders owner to ${owner}; alter table orders force row level security`,
    );
    onTestFinished(() => run(`drop owned by ${owner} cascade; drop role ${owner}`));
    await run("alter table orders enable row level security");
    await makeView();
    await run(
      `grant usage on schema veza_ledger_views to ${owner}; alter view veza_ledger_views.orders owner to ${owner}`,
    );
    const remedy = `as a superuser: alter role ${owner} bypassrls; the view asks with its owner's rights`;
    expect((await check()).remedies).toEqual([remedy, ...linesOf("orders", "see its table, above")]);
    await apply(remedy);
    await isWell();
  });

  it("a login without the settings of roles.sql, as AWS' rotation makes one", async () => {
    await run("create role veza_ledger_sampler_clone login password 'sampler' in role veza_ledger_sampler");
    onTestFinished(() => run("drop role veza_ledger_sampler_clone"));
    const settings = { DATABASE_URL: database.samplerUrl.replace("sampler:", "sampler_clone:") };
    const ill = await doctor(["sampler"], settings);
    expect(ill.ill).toEqual([
      "✗ role's settings veza_ledger_sampler_clone has no statement_timeout, lock_timeout, " +
        "idle_in_transaction_session_timeout, row_security",
      "✗ ways to read veza_ledger_sampler_clone reads with TimeZone the default, veza_ledger_sampler with UTC, " +
        "and 1 more such",
    ]);
    expect(ill.remedies).toEqual([
      "npm run migrate (again, for a _clone that AWS' rotation has made)",
      "npm run migrate",
    ]);
    await migrate();
    expect(await doctor(["sampler"], settings)).toMatchObject({ exitCode: 0, ill: [] });
  });

  it("times without a zone that the server's default reads, or another zone than the writer's", async () => {
    await run("alter table orders alter created_at type timestamp using now() at time zone 'Europe/Paris'");
    await run("alter role veza_ledger_sampler reset timezone");
    for (const role of ["veza_ledger", "veza_ledger_oncall"]) await run(`alter role ${role} reset timezone`);
    onTestFinished(async () => {
      await run("alter role veza_ledger_sampler set timezone = 'UTC'");
      await migrate();
    });
    await run(`alter database ${targetOf(database.adminUrl).database} set timezone = 'Asia/Kolkata'`);
    const unset = await check();
    expect(unset.ill).toEqual([
      "✗ time of orders created_at has no zone, and is read in the server's default, Asia/Kolkata",
    ]);
    const toSet = (zone: string) =>
      `${whoever}alter role veza_ledger_sampler ${inDatabase()} set timezone = '${zone}'; then npm run migrate; ` +
      "or name the zone of the process that writes created_at";
    expect(unset.remedies).toEqual([toSet("UTC")]);
    const setZone = async (zone: string) => {
      await apply(toSet(zone));
      await migrate();
    };

    await setZone("UTC");
    const ahead = await check();
    expect(ahead).toMatchObject({
      exitCode: 1,
      remedies: [expect.stringMatching(/set timezone = '[A-Z]\w+\/\w+'; then/)],
    });
    await apply(ahead.remedies[0]);
    await migrate();
    await isWell();
    await setZone("UTC");
    expect(ahead.ill).toEqual([
      expect.stringMatching(
        /^✗ time of orders created_at has no zone, and is read as UTC, by which the newest row is (\d+ min|2 h) ahead$/,
      ),
    ]);
    await setZone("America/New_York");
    expect((await check()).ill).toHaveLength(1);
    await setZone("Asia/Tokyo");
    const behind = await check();
    expect(behind).toMatchObject({ exitCode: 0, remedies: [`if it is younger: ${toSet("UTC")}`] });
    expect(behind.ill).toEqual([expect.stringMatching(/^! .* the newest row is [78] h old$/)]);
    await setZone("Europe/Paris");
    await isWell();
    await run("revoke select (created_at) on orders from veza_ledger_sampler");
    expect((await check()).ill).toContain("! time of orders created_at has no zone, and is read as Europe/Paris");
  });

  it.each([
    ["date", "date", "inserted_at as created_at"],
    ["bigint", "bigint using extract(epoch from created_at)", "to_timestamp(created_at) as created_at"],
  ])("a time that is a %s", async (type, change, instead) => {
    await run("alter table orders add inserted_at timestamptz; update orders set inserted_at = created_at");
    await run(`alter table orders alter created_at drop default, alter created_at type ${change}`);
    const ill = await check();
    expect(ill.exitCode).toBe(1);
    expect(ill.ill[0]).toBe(`✗ time of orders created_at is a ${type}, which cannot be compared with a time of day`);
    expect(ill.remedies[0]).toBe("let the role read a view instead: docs/what-counts.md");
    await makeView("created_at", instead);
    await dropIndexes();
    await createIndexes("created_at", instead.split(" as ")[0] ?? "");
    await isWell();
  });

  it("an id of a type that no text compares with", async () => {
    await dropIndexes(readsProviderId);
    await run("alter table orders alter hyperswitch_payment_id type int using 1");
    const ill = await check();
    const [misfits, remedies] = [
      linesOf("orders", '✗ check ID invalid input syntax for type integer: ""', readsProviderId),
      linesOf(
        "orders",
        "the column has no such value: let the role read a view instead: docs/what-counts.md",
        readsProviderId,
      ),
    ];
    expect(ill.ill).toEqual(misfits);
    expect(ill.remedies).toEqual(remedies);
    await makeView("hyperswitch_payment_id", "hyperswitch_payment_id::text as hyperswitch_payment_id");
    await createIndexes("hyperswitch_payment_id", "hyperswitch_payment_id::text");
    await isWell();
  });

  it("an empty table that is found before the ledger's own", async () => {
    await run(`create schema veza; create table veza.orders (like orders including all);
      insert into veza.orders (status, hyperswitch_payment_id) select status, hyperswitch_payment_id from orders;
      truncate orders; analyze orders, veza.orders`);
    const ill = await check();
    expect(ill).toMatchObject({
      exitCode: 0,
      ill: ["! table orders a table in public, and empty; there is another one in veza"],
    });
    const remedy = `${whoever}alter role veza_ledger_sampler ${inDatabase()} set search_path = veza, public`;
    expect(ill.remedies).toEqual([
      `if that is the ledger: ${remedy}; then npm run migrate. If both are, a view of both: docs/what-counts.md`,
    ]);
    await apply(remedy);
    await migrate();
    const found = await check();
    expect(found.lines).toContain("✓ check stuck_orders can be asked");
    expect(found.ill).toEqual([
      expect.stringMatching(/^! table orders a table in veza, rows: about \d+; there is another one in public$/),
    ]);
    await run("drop table public.orders");
    await isWell();
  });

  it("a ledger of two regions, of which either table alone is half", async () => {
    await run(`create schema us; create table us.orders (like orders including all); insert into us.orders
      (status, hyperswitch_payment_id, created_at) values ('pending', 'pay', now() - interval '1 hour')`);
    const ill = await check();
    expect(ill.ill).toEqual([
      expect.stringMatching(/^! table orders a table in public, .*; there is another one in us$/),
    ]);
    expect(ill.remedies[0]).toMatch(/If both are, a view of both: docs\/what-counts.md$/);
    const page = await readFile("docs/what-counts.md", "utf8");
    const ofBoth =
      /create schema veza_ledger_views;[^`]*union all[^`]*/.exec(page.slice(page.indexOf("of both")))?.[0] ?? "";
    await run(ofBoth.replace("in database ledger", inDatabase()));
    await migrate();
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    const both = await check();
    expect(both.lines).toContainEqual(expect.stringMatching(/^✓ table orders a view in veza_ledger_views/));
    expect(both.lines).toContainEqual(expect.stringMatching(/^✓ counts .*stuck_orders 1,/));
  });

  it("an index on the table of another name behind a view", async () => {
    await dropIndexes();
    await run("alter table orders rename to purchases; create view orders as select * from purchases");
    await migrate();
    const { ill, remedies } = await check();
    expect(ill).toEqual([unserved("!")]);
    for (const remedy of (remedies[0] ?? "").split("; ")) await run(remedy.replace("as postgres: ", ""));
    await isWell();
  });

  it("row-level security in another language than English", async () => {
    await run("alter table orders rename to rows; alter table rows enable row level security");
    await run("create view orders as select * from rows; alter table rows force row level security");
    const owner = `owner_of_${targetOf(database.adminUrl).database}`;
    await run(`create role ${owner}; alter view orders owner to ${owner}; alter table rows owner to ${owner}`);
    onTestFinished(() => run(`drop owned by ${owner} cascade; drop role ${owner}`));
    await migrate();
    const english = Buffer.from("query would be affected by row-level security policy");
    const french = Buffer.from("la requete serait affectee par la politique de ligne".padEnd(english.length));
    const proxy = await startProxy(targetOf(database.samplerUrl).port, {
      answer: (chunk) => {
        for (let at = chunk.indexOf(english); at >= 0; at = chunk.indexOf(english)) french.copy(chunk, at);
        return chunk;
      },
    });
    const url = database.samplerUrl.replace(/:\d+\//, `:${proxy.port}/`);
    const { ill, remedies } = await doctor(["sampler"], { ...settings(), DATABASE_URL: url });
    expect(ill.join()).toMatch(/la requete serait affectee/);
    expect(remedies[0]).toBe(`as a superuser: alter role ${owner} bypassrls; the view asks with its owner's rights`);
  });

  it("a table that the role's search_path does not lead to", async () => {
    await run("create schema veza; alter table orders set schema veza");
    const ill = await check();
    expect(ill.ill).toContain(
      '✗ table orders it is in veza, where the role does not look: its search_path is "$user", public',
    );
    expect(ill.remedies).toContain(
      `${whoever}alter role veza_ledger_sampler ${inDatabase()} set search_path = veza, public; then npm run migrate`,
    );
    await run("drop table if exists refunds");
    expect((await check()).ill).toContain("✗ table refunds there is no such table");
  });

  it("a search_path and a zone for this database alone, which win: the remedies set them there", async () => {
    await run("alter table orders alter created_at type timestamp using now() at time zone 'UTC'");
    await run("create schema veza; alter table orders set schema veza");
    await run(`alter role veza_ledger_sampler ${inDatabase()} set search_path = shop, public;
      alter role veza_ledger_sampler ${inDatabase()} set timezone = 'Pacific/Honolulu'`);
    await expect(migrate()).rejects.toMatchObject({
      hint: `as postgres: alter role veza_ledger_sampler ${inDatabase()} set search_path = veza, public`,
    });
    for (const setting of ["search_path = veza, public", "timezone = 'UTC'"]) {
      const remedy = (await check()).remedies.find((text) => text.startsWith(whoever)) ?? "";
      expect(remedy).toContain(`alter role veza_ledger_sampler ${inDatabase()} set ${setting}; then npm run migrate`);
      await apply(remedy);
      await migrate();
    }
    await isWell();
  });

  const isPending = ({ status }: { status: string }) => status === "pending";

  it("a status that a release has renamed", async () => {
    await run("update orders set status = 'awaiting_payment' where status = 'pending'; analyze orders");
    const ill = await check();
    const rename = "let the role read a view instead: docs/what-counts.md";
    expect(ill).toMatchObject({
      exitCode: 0,
      ill: [
        expect.stringMatching(/^! status of orders neither watched nor known to be settled: 'awaiting_payment' \d+$/),
        ...linesOf(
          "orders",
          "^! check ID no row, type or constraint knows the status 'pending', but .*\\bawaiting_payment 1$",
          isPending,
        ).map((line) => expect.stringMatching(line)),
      ],
      remedies: [
        `if nobody waits for such rows: --settled 'awaiting_payment'; if a release has renamed a status, ${rename}`,
        ...linesOf("orders", `none may have it today; if a release has renamed it, ${rename}`, isPending),
      ],
    });
    await makeView("status", "replace(status, 'awaiting_payment', 'pending') as status");
    await createIndexes("status", "replace(status, 'awaiting_payment', 'pending')");
    await isWell();
  });

  const statuses = [...new Set(ofOrders.map(({ status }) => status))];
  const known = `'${["paid", ...statuses].join("', '")}'`;
  const asEnum = (labels: string) =>
    `create type state as enum (${labels}); alter table orders alter status type state using status::state`;

  it.each([
    ["type", asEnum(known)],
    ["constraint", `alter table orders add check (status in (${known}))`],
  ])("but no status that is rare, and that the column's %s knows", async (_, change) => {
    await dropIndexes();
    await run(`delete from orders where status <> 'paid'; ${change}`);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    await isWell();
  });

  it("an enum without the status", async () => {
    await dropIndexes();
    await run(`delete from orders where status <> 'paid'; ${asEnum("'paid'")}`);
    const unknown = ofOrders.map(({ id, status }) => `✗ check ${id} invalid input value for enum state: "${status}"`);
    expect((await check()).ill).toEqual(unknown);
    for (const status of statuses) await run(`alter type state add value '${status}'`);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    await isWell();
  });

  it("transfers without their time: what is left of the index is another one", async () => {
    await run("alter table seller_transfers drop updated_at");
    const ill = await check();
    expect(ill.ill).toEqual([
      "✗ time of seller_transfers there is no updated_at",
      '! check failed_transfers counts, and does not know the oldest row: column "updated_at" does not exist',
      ...linesOf("seller_transfers", '✗ check ID column "updated_at" does not exist', needs("updated_at")),
      "! indexes none serves failed_transfers: the whole table is read every minute",
    ]);
    const remedy = ill.remedies.at(-1) ?? "";
    expect(remedy).toMatch(/^as postgres: create index concurrently on public.seller_transfers /);
    await run(remedy.replace("as postgres: ", ""));
    expect((await check()).ill).toEqual(ill.ill.slice(0, -1));
    await run("alter table seller_transfers add updated_at timestamptz default now()");
    await runSqlFiles(database.adminUrl, ["config/postgres/roles.sql", "config/postgres/indexes.sql"]);
    await isWell();
  });

  it.each<[string, string, string]>([
    [
      "a new one",
      "insert into orders (status) select 'requires_capture' from generate_series(1, 500)",
      "requires_capture",
    ],
    ["in capitals", "insert into orders (status) values ('Pending')", "Pending"],
    ["with a space", "insert into orders (status) values ('pending ')", "pending "],
    ["NULL", "alter table orders alter status drop not null; insert into orders (status) values (null)", "null"],
    [
      "renamed, all but a fresh row",
      "insert into orders (status, created_at) values ('awaiting_payment', now() - interval '1 day')",
      "awaiting_payment",
    ],
    [
      "renamed, and a constraint knows both",
      `alter table orders add check (status in (${known}, 'awaiting_payment')); ` +
        "update orders set status = 'awaiting_payment' where status = 'pending'",
      "awaiting_payment",
    ],
    [
      "renamed, and the statistics are old",
      "insert into orders (status) select 'pending' from generate_series(1, 9); analyze orders; " +
        "update orders set status = 'awaiting_payment' where status = 'pending'",
      "awaiting_payment",
    ],
  ])("a status that nobody watches: %s", async (_, change, status) => {
    await run(change);
    const ill = await check();
    expect(ill.exitCode).toBe(0);
    const shown = status === "null" ? "null" : `'${status}'`;
    expect(ill.ill).toEqual([
      expect.stringMatching(`^! status of orders neither watched nor known to be settled: ${shown} \\d+$`),
    ]);
    const settled = /--settled '([^;]+)';/.exec(ill.remedies[0] ?? "")?.[1] ?? "";
    expect(settled).toBe(status);
    expect(await doctor(["sampler", "--settled", settled], settings())).toMatchObject({ exitCode: 0, ill: [] });
  });

  it("an enum whose old label stays, and that no row has any more", async () => {
    await dropIndexes();
    await run(`update orders set status = 'awaiting' where status <> 'paid';
      create type state as enum (${known}, 'awaiting');
      alter table orders alter status type state using status::state`);
    await runSqlFiles(database.adminUrl, ["config/postgres/indexes.sql"]);
    expect((await check()).ill).toEqual([
      expect.stringMatching(/^! status of orders neither watched nor known to be settled: 'awaiting' \d+$/),
    ]);
  });

  it.each([
    [
      "without a time",
      "null",
      "✗ check ID rows without created_at do not count: \\d",
      "coalesce(created_at, '-infinity')",
    ],
    [
      "in the year 57870",
      "to_timestamp(extract(epoch from created_at) * 1000)",
      "✗ check ID rows whose created_at is in the future do not count: \\d",
      "to_timestamp(extract(epoch from created_at) / 1000)",
    ],
  ])("rows %s", async (_, time, line, instead) => {
    await run(`alter table orders alter created_at drop not null; update orders set created_at = ${time}`);
    const ill = await check();
    expect(ill.exitCode).toBe(1);
    expect(ill.ill).toEqual(linesOf("orders", line).map((line) => expect.stringMatching(`^${line}$`)));
    expect(new Set(ill.remedies)).toEqual(
      new Set(["correct these rows and what writes them, or let the role read a view instead: docs/what-counts.md"]),
    );
    await makeView("created_at", `${instead} as created_at`);
    await createIndexes("created_at", instead).catch(() => {}); // to_timestamp() is not immutable for an index.
    expect((await check()).ill.filter((line) => !/none serves/.test(line))).toEqual([]);
  });

  it("rows at infinity, also where the time has no zone", async () => {
    await run(`alter table orders alter created_at type timestamp using now() at time zone 'UTC';
      update orders set created_at = 'infinity' where status <> 'paid'`);
    expect((await check()).ill).toEqual(
      linesOf("orders", "✗ check ID rows whose created_at is in the future do not count: 1"),
    );
  });

  it("a failed transfer without a time, which counts", async () => {
    await run(
      "alter table seller_transfers alter updated_at drop not null; update seller_transfers set updated_at = null",
    );
    expect((await check()).ill).toEqual(
      linesOf("seller_transfers", "ID").map((id) =>
        id === "failed_transfers"
          ? "! check failed_transfers rows without updated_at count, without an oldest row: 1"
          : `✗ check ${id} rows without updated_at do not count: 1`,
      ),
    );
  });

  it("a lock, which no migration ends", async () => {
    await lockTable(database, "orders");
    const ill = await check();
    const line = "canceling statement due to lock timeout";
    expect(ill.ill).toEqual([`✗ table orders ${line}`, ...linesOf("orders", `✗ check ID ${line}`)]);
    expect(new Set(ill.remedies)).toEqual(new Set(["see who holds the lock: docs/runbook/reasons.md"]));
  });

  it("a large table without an index, which is no doubt any more", async () => {
    await dropIndexes();
    await run("analyze orders; update pg_class set reltuples = 1e6, relpages = 1 where oid = 'orders'::regclass");
    expect(await check()).toMatchObject({
      exitCode: 1,
      ill: [unserved("✗")],
    });
  });

  it("an index that does not know the status: all rows of any age are read through it", async () => {
    await dropIndexes();
    for (const { time } of ofOrders) await run(`create index on orders (${time})`);
    await run("analyze orders; update pg_class set reltuples = 1e6, relpages = 1 where oid = 'orders'::regclass");
    expect((await check()).ill).toEqual([unserved("✗")]);
  });

  it("an index that an interruption has left invalid", async () => {
    await run("update pg_index set indisvalid = false where indexrelid = 'veza_ledger_stuck_orders'::regclass");
    const ill = await check();
    expect(ill.ill).toEqual(["! indexes none serves stuck_orders: the whole table is read every minute"]);
    expect(ill.remedies).toEqual([
      expect.stringMatching(/ -c 'drop index public.veza_ledger_stuck_orders' -f config\/postgres\/indexes.sql$/),
    ]);
    await promisify(exec)(ill.remedies[0] ?? "", { env: { ...process.env, PGPASSWORD: "postgres" } });
    await isWell();
  });

  it("an index that does not serve what a view computes", async () => {
    await makeView("status", "lower(trim(status)) as status");
    const ill = await check();
    expect(ill.ill).toEqual([unserved("!")]);
    expect(ill.remedies).toEqual(["an index on what the view computes, on the table behind it: docs/what-counts.md"]);
    await createIndexes("status", "lower(trim(status))");
    await isWell();
  });

  it("a materialized view, which is as old as its last refresh, and a view on one", async () => {
    await run("create schema veza_ledger_views; create materialized view veza_ledger_views.orders as table orders");
    await run(`alter role veza_ledger_sampler ${inDatabase()} set search_path = veza_ledger_views, public`);
    await migrate();
    const isOld =
      /^! table orders a (materialized )?view in veza_ledger_views, rows: about \d+; a materialized view counts as of/;
    expect((await check()).ill[0]).toMatch(isOld);
    await run(`alter materialized view veza_ledger_views.orders rename to copy;
      create view veza_ledger_views.orders as table veza_ledger_views.copy`);
    await migrate();
    expect((await check()).ill[0]).toMatch(isOld);
    await run("drop view veza_ledger_views.orders; create view veza_ledger_views.orders as table orders");
    await migrate();
    await isWell();
  });

  it("a foreign table, and the target of a subscription", async () => {
    const { port, database: name } = targetOf(database.adminUrl);
    await run(`create extension postgres_fdw; create schema far;
      create server far foreign data wrapper postgres_fdw options (host '127.0.0.1', port '${port}', dbname '${name}');
      create user mapping for public server far options (user 'postgres', password 'postgres');
      import foreign schema public limit to (orders) from server far into far`);
    await run(`alter role veza_ledger_sampler ${inDatabase()} set search_path = far, public`);
    await migrate();
    expect((await check()).ill[0]).toMatch(
      /^! table orders a foreign table in far, .*; rows are on another server, by its/,
    );
    await run(`alter role veza_ledger_sampler ${inDatabase()} reset search_path`);
    await migrate();
    await run("drop schema far cascade");
    await isWell();

    const publisher = await createDatabase(serverUrl);
    await publisher.admin`create publication all_orders for table orders`;
    const slot = `slot_${name}`;
    await publisher.admin`select pg_create_logical_replication_slot(${slot}, 'pgoutput')`;
    await run(`create subscription ${name} connection '${publisher.adminUrl}' publication all_orders
      with (create_slot = false, slot_name = '${slot}', enabled = false, copy_data = false)`);
    onTestFinished(async () => {
      await run(`alter subscription ${name} set (slot_name = none); drop subscription ${name}`);
      await publisher.admin`select pg_drop_replication_slot(${slot})`;
      await publisher.remove();
    });
    expect((await check()).ill).toEqual([
      expect.stringMatching(
        /^! table orders a table in public, .*; the target of a subscription: rows count when they/,
      ),
    ]);
  });

  it("nothing wrong with a partitioned table or a view, which it names", async () => {
    await makeView();
    expect((await check()).lines).toContainEqual(expect.stringMatching(/^✓ table orders a view in veza_ledger_views/));
    await run(`drop schema veza_ledger_views cascade; alter table orders rename to orders_rest;
      alter table orders_rest alter id drop identity;
      create table orders (like orders_rest) partition by range (created_at);
      alter table orders attach partition orders_rest default`);
    await dropIndexes();
    await migrate();
    const unindexed = await check();
    expect(unindexed.remedies).toEqual([expect.stringMatching(/^psql ".*" -f config\/postgres\/indexes.sql$/)]);
    await promisify(exec)(unindexed.remedies[0] ?? "", { env: { ...process.env, PGPASSWORD: "postgres" } });
    expect((await check()).lines).toContainEqual(
      expect.stringMatching(/^✓ table orders a partitioned table in public/),
    );
    await isWell();
  });
});

it("a wrong clock of Postgres, in one line: no row is ahead by it", async () => {
  const connection = await openConnection(database.samplerUrl);
  await fill(database);
  for (const check of checks) await run(insertRows(check, 1, { age: "-10 minutes" }));
  const linesWith = async (isClockRight: boolean) => {
    const findings = checks.map((check) => lookAtCheck(sceneOf(connection, isClockRight), check));
    const lines = (await Promise.all(findings)).filter(({ mark }) => mark !== "✓");
    return lines;
  };
  expect(await linesWith(true)).toHaveLength(checks.length);
  expect(await linesWith(false)).toEqual([]);
});

it("a clock of Postgres with which the sampler would not count, also where floats show no digits", async () => {
  const { database: name } = targetOf(database.adminUrl);
  await run(`alter role veza_ledger_sampler in database ${name} set extra_float_digits = -15`);
  const connection = await openConnection(database.samplerUrl);
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const now = Date.now();
  const scene = sceneOf(connection);
  expect(await lookAtServer(scene)).toEqual({ mark: "✓", fact: "the primary" });
  for (const sign of [1, -1]) {
    vi.setSystemTime(now + sign * 600_000);
    expect(await lookAtServer(scene)).toEqual({
      mark: "!",
      fact: expect.stringMatching(/^the clocks of Postgres and this machine are (59|60)\d s apart$/),
      remedy: "correct the wrong one: docs/runbook/reasons.md",
    });
    expect(scene.isClockRight).toBe(false);
  }
});

describe("statuses of a table that cannot be read in time", () => {
  it("are those of the statistics, unless these are old", async () => {
    await run("insert into orders (status) select 'pending' from generate_series(1, 500)");
    const connection = await openConnection(database.samplerUrl);
    const look = async () => {
      const unlock = await lockTable(database, "orders");
      try {
        return await lookAtStatuses(sceneOf(connection), "orders");
      } finally {
        await unlock();
      }
    };
    await run("alter table orders set (autovacuum_enabled = off)");
    const analyze = { remedy: "as postgres: analyze public.orders", mark: "!" };
    expect(await look()).toEqual({ fact: "too many rows to read, and no statistics", ...analyze });
    await run("analyze orders");
    expect(await look()).toEqual({ mark: "✓", fact: "pending 500" });
    await run("insert into orders (status) select 'requires_capture' from generate_series(1, 500)");
    const isOld = expect.stringMatching(/^the statistics are [\d,]+ changes old$/);
    await expect.poll(look).toEqual({ fact: isOld, ...analyze });
    await run("analyze orders");
    expect(await look()).toMatchObject({ fact: expect.stringMatching(/'requires_capture' 500$/) });
  });
});

describe("statuses of what has no statistics of its own", () => {
  const look = async (behind: string) => {
    const unlock = await lockTable(database, behind);
    const connection = await openConnection(database.samplerUrl);
    try {
      const { fact, remedy } = await lookAtStatuses(sceneOf(connection), "orders");
      return [fact, remedy];
    } finally {
      await unlock();
    }
  };

  it("are told to be old where a partition has changed since, or autovacuum has analyzed it since", async () => {
    await run(`drop table orders; create table orders (status text, created_at timestamptz) partition by list (status);
      create table some_orders partition of orders default;
      alter table some_orders set (autovacuum_enabled = off);
      grant select on orders to veza_ledger_sampler;
      insert into orders select 'pending' from generate_series(1, 100)`);
    // Postgres takes a second to know of the changes before.
    const isNow = async (seen: unknown[], change = "select") =>
      expect.poll(() => run(change).then(() => look("some_orders"))).toEqual(seen);
    const analyze = "as postgres: analyze public.orders";
    await isNow(["pending 100", undefined], "analyze orders");
    await run("insert into orders select 'requires_capture' from generate_series(1, 500)");
    await isNow([expect.stringMatching(/^the statistics are \d+ changes old$/), analyze]);
    await run("alter table some_orders reset (autovacuum_enabled)");
    const analyzed = () => database.admin`select pg_stat_get_last_autoanalyze_time('some_orders'::regclass) as at`;
    await expect.poll(async () => (await analyzed())[0]?.at).not.toBeNull(); // A lock would cancel it.
    await isNow(["the statistics are older than a partition's", analyze]);
    await run("analyze orders");
    await isNow([expect.stringMatching(/: 'requires_capture' 500$/), expect.any(String)]);
  });

  it("are a person's to read behind a view, which nothing analyzes", async () => {
    await run(
      `alter table orders rename to all_orders; create view orders as table all_orders;
        grant select on orders to veza_ledger_sampler`,
    );
    expect(await look("all_orders")).toEqual([
      "too many rows to read, and no statistics",
      "as postgres: select status, count(*) from public.orders group by 1",
    ]);
  });
});

it("says what counts on day one, and which alerts that makes", async () => {
  await run(insertRows({ id: "stuck_orders" }, 3, { age: "3 hours" }));
  await run(insertRows({ id: "failed_transfers" }, 2, { age: "3 days" }));
  const { lines } = await doctor(["sampler"], { DATABASE_URL: database.samplerUrl });
  expect(lines).toContainEqual(
    "✓ counts stuck_orders 3, the oldest 3 h old: VezaLedgerStuckOrders fires; " +
      "failed_transfers 2, the oldest 3 days old: VezaLedgerFailedTransfers fires, " +
      "and VezaLedgerRowsTooOld unless that alert pages",
  );
});
