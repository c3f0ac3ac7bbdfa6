import { exec } from "node:child_process";
import { promisify } from "node:util";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { run } from "../../commands/doctor.ts";
import { tables } from "../../commands/look.ts";
import { checks } from "../../lib/checks.ts";
import { inItsOwnProcess, inProcess } from "../helpers/commands.ts";
import { createDatabase, lockTable, type TestDatabase, targetOf } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { startProxy, type TcpProxy } from "../helpers/proxy.ts";
import { tcpServer } from "../helpers/servers.ts";

let database: TestDatabase;
beforeEach(async () => {
  database = await createDatabase();
  onTestFinished(() => database.remove());
  // As a stranger has it: the ledger's tables, and nothing of this service.
  await database.admin.unsafe("drop schema ledger_metrics cascade");
});

const nothing = {
  DATABASE_URL: undefined,
  PUSHGATEWAY_URL: undefined,
  WEBHOOK_SECRET: undefined,
  SECRET_ID: undefined,
};

/** As the tables' owner, without any setting of the functions. */
const look = (...options: string[]) => lookWith({}, ...options);

async function lookWith(environment: Record<string, string>, ...options: string[]) {
  const { exitCode, output } = await inProcess(run, options, { ...nothing, ...environment });
  return { exitCode, text: `${output}\n` };
}

it("counts on a ledger where nothing is installed, with the oldest rows and what each count means", async () => {
  for (const [index, check] of checks.entries()) await database.admin.unsafe(insertRows(check, index + 1));
  const { exitCode, text } = await look(database.adminUrl);
  expect(exitCode, text).toBe(0);
  expect(text).toMatch(/^Reads ledger_\w+ on 127\.0\.0\.1 as postgres\.\nRead-only transactions/);
  for (const [index, { id }] of checks.entries()) {
    expect(text).toMatch(new RegExp(`^ +${index + 1}  ${id}, the oldest \\d+ (min|h|days) old\\n {10}\\w.*`, "m"));
  }
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
});

it("names what makes a count doubtful: a status that no check knows, and a table in another schema", async () => {
  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id) values ('requires_capture', 'pay');
    create schema shop; alter table refunds set schema shop`);
  const elsewhere = await look(database.adminUrl);
  expect(elsewhere.exitCode).toBe(1);
  expect(elsewhere.text).toMatch(/^ +\? {2}orphan_refunds\n +Unknown: relation "refunds" does not exist$/m);
  expect(elsewhere.text).toMatch(/^ +0 \? {2}stuck_orders$/m);
  const doubts = elsewhere.text.replaceAll(/\n +(?!!)/g, " ");
  expect(doubts).toMatch(/! +status of orders: neither watched nor known to be settled: 'requires_capture' 1/);
  expect(doubts).toMatch(/! +refunds: it is in shop, where the role does not look/);

  await database.admin.unsafe("alter table orders set schema shop; alter table seller_transfers set schema shop");
  const named = await look(database.adminUrl, "--schema", "shop", "--settled", "requires_capture");
  expect([named.exitCode, named.text.match(/neither watched/)]).toEqual([0, null]);
});

it("waits for no lock, and for no server that is mute", async () => {
  await lockTable(database, "orders");
  const locked = await look(database.adminUrl);
  expect(locked.exitCode).toBe(1);
  expect(locked.text).toMatch(/^ +\? {2}stuck_orders\n +Unknown: canceling statement due to lock timeout$/m);
  expect(locked.text).toMatch(/^ +0 \? {2}stuck_refunds$/m);

  const startedAt = Date.now();
  const mute = await look(`postgres://someone:secret@127.0.0.1:${await tcpServer(() => {})}/ledger`);
  expect([mute.exitCode, Date.now() - startedAt < 15_000]).toEqual([1, true]);
  expect(mute.text).toMatch(/^ +✗ {2}\w.*\n +→ {2}\w/m);
  expect(mute.text).not.toContain("secret");
});

it("says so within 30 s when the link dies: refused, reset or silent, at the log-in, a count or a look", async () => {
  const moments = ["SCRAM-SHA-256", "row_security_active('refunds')", "explain select count"];
  const ways = { FIN: cut(false), RST: cut(true), silence: (proxy: TcpProxy) => void proxy.mute(60_000) };
  const cases = moments.flatMap((moment) => Object.entries(ways).map(([way, die]) => ({ moment, way, die })));
  await Promise.all(
    cases.map(async ({ moment, way, die }) => {
      const proxy: TcpProxy = await startProxy(targetOf(database.adminUrl).port, {
        allow: (chunk) => {
          if (new RegExp(moment.replaceAll(/[()]/g, "\\$&")).test(chunk.toString("latin1"))) die(proxy);
          return true;
        },
      });
      const startedAt = Date.now();
      const url = database.adminUrl.replace(/:\d+\//, `:${proxy.port}/`);
      const { exitCode, output: text } = await inItsOwnProcess("doctor", [url], nothing);
      const seconds = (Date.now() - startedAt) / 1000;
      expect({ way, moment, exitCode, isLate: seconds > 30 }).toEqual({ way, moment, exitCode: 1, isLate: false });
      expect(text, `${way} ${moment}`).toMatch(/no answer within|connection|CONNECT|hung up|ECONNRESET|closed|ended/);
    }),
  );
});

const cut = (reset: boolean) => (proxy: TcpProxy) => proxy.cut(reset);

it("says what to do about a URL that cannot be read, and about a wrong password, which it never shows", async () => {
  for (const url of ["postgres://me:s3cr#et@127.0.0.1/x", "postgres://me:s3c/ret@127.0.0.1/x"]) {
    const { exitCode, text } = await look(url);
    expect([exitCode, text.replaceAll(/\s+/g, " ")]).toEqual([
      1,
      " ✗ DATABASE_URL must be like postgres://user:password@host:5432/database, with a single host " +
        "→ write the characters / # ? % @ of a password as %2F %23 %3F %25 %40; " +
        "or leave the password out of the URL, and set PGPASSWORD ",
    ]);
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  }
  await database.admin.unsafe("drop role if exists me; create role me login password 's3c/ret#'");
  onTestFinished(async () => void (await database.admin.unsafe("drop owned by me; drop role me")));
  const url = database.adminUrl.replace("postgres:postgres@", "me@");
  const wrong = await lookWith({ PGPASSWORD: "s3cret" }, url);
  const said = wrong.text.replaceAll(/\s+/g, " ");
  expect([wrong.exitCode, said]).toEqual([
    1,
    expect.stringMatching(/✗ password authentication .* → check them; write/),
  ]);
  expect(said).not.toMatch(/s3c|alter role/);

  const lowly = await lookWith({ PGPASSWORD: "s3c/ret#" }, url);
  expect(lowly.exitCode).toBe(1);
  const grants = grantsIn(lowly.text);
  expect(grants).toHaveLength(3);
  for (const grant of grants) await database.admin.unsafe(grant);
  expect(await lookWith({ PGPASSWORD: "s3c/ret#" }, url)).toMatchObject({ exitCode: 0 });
});

/** The statements behind `→ as <owner>:`, which may go over several lines. */
const grantsIn = (text: string) =>
  text
    .replaceAll(/\n {10}(?=\S)/g, " ")
    .split("\n")
    .flatMap((line) => /→ {2}as postgres: (grant .*)/.exec(line)?.[1] ?? []);

it.each([
  ["in a schema that the login may not use", "Read-Only", "create schema veza", ["--schema", "veza"]],
  ["in public, with a login that has to be quoted", "Read-Only", "", []],
])("prints every grant that is missing: %s", async (_, login, change, options) => {
  await database.admin.unsafe(`${change}; drop role if exists "${login}"; create role "${login}" login password 'x'`);
  onTestFinished(async () => void (await database.admin.unsafe(`drop owned by "${login}"; drop role "${login}"`)));
  if (change) for (const table of tables) await database.admin.unsafe(`alter table ${table} set schema veza`);
  const url = database.adminUrl.replace("postgres:postgres@", `${login}:x@`);
  const { exitCode, text } = await look(url, ...options);
  expect(exitCode).toBe(1);
  for (const grant of grantsIn(text)) await database.admin.unsafe(grant);
  expect(await look(url, ...options)).toMatchObject({ exitCode: 0 });
});

it("names all that a doubtful 0 hangs on, below it: the statuses that the table has", async () => {
  await database.admin.unsafe("insert into seller_transfers (status) select 'failed' from generate_series(1, 12)");
  const { text } = await look(database.adminUrl);
  const [, below = ""] = text.split("0 ?  failed_transfers\n");
  expect(below.split("\n").slice(1, 3)).toEqual([
    "       !  failed_transfers: no row, type or constraint knows the status",
    "          'permanently_failed', but failed 12",
  ]);
});

it("shows other columns beside the columns that the checks read, and the view that bridges them", async () => {
  await database.admin.unsafe(`
    insert into orders (status, hyperswitch_payment_id, created_at) values ('pending', 'pay', now() - interval '1 day');
    alter table orders rename status to state; alter table orders rename hyperswitch_payment_id to payment`);
  const { exitCode, text } = await look(database.adminUrl);
  expect(exitCode).toBe(1);
  expect(text).toMatch(
    /^ +status +-\n +hyperswitch_payment_id +-\n +created_at +created_at\n +- +id, state, payment, updated_at$/m,
  );
  const [, view = ""] = /(create schema[^;]*;[^;]*;)/.exec(text) ?? [];
  await database.admin.unsafe(
    view.replace("<column> as status", "state as status").replace("<column> as hyper", "payment as hyper"),
  );
  const bridged = await look(database.adminUrl, "--schema", "veza_ledger_views");
  expect(bridged.text).toMatch(/^ +1 {2}stuck_orders, the oldest 24 h old$/m);
});

it("looks at the tables of public behind a schema of views", async () => {
  await database.admin.unsafe("create schema veza_ledger_views; create view veza_ledger_views.orders as table orders");
  expect(await look(database.adminUrl, "--schema", "veza_ledger_views")).toMatchObject({ exitCode: 0 });
});

it("names the URL and not a setting that nobody gave, and ends quietly when its pipe is closed", async () => {
  expect((await look("postgres://me:x@127.0.0.1:1/x")).text).toMatch(/check host and port in the URL/);
  const { stderr, stdout } = await promisify(exec)(`node commands/doctor.ts ${database.adminUrl} | head -1`);
  expect([stdout, stderr]).toEqual([expect.stringMatching(/^Reads .*\n$/), ""]);
});

it("writes nothing, also where the login could: its session is read-only", async () => {
  await database.admin.unsafe(`
    create table witness (written boolean);
    create function note() returns boolean language plpgsql as
      $$ begin insert into witness values (true); return true; end $$;
    alter table refunds rename to real_refunds;
    create view refunds as select *, note() as noted from real_refunds where note()`);
  await database.admin.unsafe("insert into real_refunds (status, created_at) values ('pending', '2020-01-01')");
  const { exitCode, text } = await look(database.adminUrl);
  expect(exitCode).toBe(1);
  expect(text).toContain("Unknown: cannot execute INSERT in a read-only transaction");
  expect(await database.admin`select from witness`).toHaveLength(0);
});
