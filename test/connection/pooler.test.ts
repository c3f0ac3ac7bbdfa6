// A pooler in transaction mode hands a session's settings to the next client: nothing here may leave one behind.

import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import postgres from "postgres";
import { beforeEach, expect, inject, it, onTestFinished } from "vitest";
import { poolerOf } from "../../commands/doctor/pooler.ts";
import { checks } from "../../lib/counts/checks.ts";
import { deadlineFor } from "../../lib/deadline.ts";
import { keepConnections } from "../../lib/postgres/connections.ts";
import { parseDatabaseUrl } from "../../lib/settings/settings.ts";
import { findOnPath } from "../../local/find-on-path.ts";
import { createDatabase, openConnection, serverForFile, type TestDatabase, urlAs } from "../helpers/database.ts";
import { insertRows } from "../helpers/models.ts";
import { startPgbouncer } from "../helpers/pgbouncer.ts";
import { runScript } from "../helpers/processes.ts";
import { sampleAs } from "../helpers/sample.ts";

const serverUrl = await serverForFile();
const server = postgres(serverUrl, { max: 1 });
await server`create role shop login password 'shop'`;
await server.end();
let database: TestDatabase;
/** The database through the pooler, as the login that the application shares with others, and as the administrator. */
let shopUrl: string;
let adminUrl: string;

const run = async (statements: string): Promise<void> => void (await database.admin.unsafe(statements));

/** A ledger of the login `shop`, which an application writes through the pooler. */
beforeEach(async () => {
  database = await createDatabase(serverUrl);
  onTestFinished(() => database.remove());
  for (const { table } of checks) await run(`alter table ${table} owner to shop`);
  await run("grant create on schema public to shop; grant all on all tables in schema ledger_metrics to shop");
  await run("create schema ledger_outbox authorization shop");
  const passwords = { shop: "shop", postgres: new URL(serverUrl).password };
  const port = await startPgbouncer(serverUrl, passwords, { statsUser: "shop" });
  adminUrl = database.adminUrl.replace(/:\d+\//, `:${port}/`);
  shopUrl = urlAs("shop:shop", adminUrl);
});

/** All settings of both server connections of a login's pool: two transactions at the same time have one each. */
async function settingsOf(url: string): Promise<object[]> {
  const clients = [1, 2].map(() => postgres(url, { max: 1, prepare: false, fetch_types: false }));
  const both = (statement: string) => Promise.all(clients.map((client) => client.unsafe(statement)));
  await both("begin");
  const sessions = await both(`
    select name, setting, source, pg_backend_pid() as pid from pg_settings
    where name not in ('application_name', 'transaction_isolation', 'transaction_read_only')
      and name !~ '^plpgsql' -- They appear when a session loads the language.`);
  await both("rollback");
  for (const client of clients) await client.end();
  expect(new Set(sessions.map(([row]) => row?.pid)).size).toBe(2);
  return sessions.map((rows) => rows.map(({ name, setting, source }) => ({ name, setting, source })));
}

/** What the application does all day: it writes. Until `isOver`, and at least once. */
async function sell(url: string, isOver = () => true): Promise<void> {
  const sql = postgres(url, { max: 4, prepare: false, fetch_types: false });
  const sale = () => sql.unsafe("insert into orders (status, hyperswitch_payment_id) values ('paid', 'pay')");
  do {
    await Promise.all(Array.from({ length: 8 }, sale));
    await sleep(5);
  } while (!isOver());
  await sql.end();
}

const environment = {
  PUSHGATEWAY_URL: inject("pushgatewayUrl"),
  WEBHOOK_SECRET: `whsec_${Buffer.alloc(24).toString("base64")}`,
  SECRET_ID: undefined,
  STAGE: "pooler",
};
async function command(file: string, args: string[], url?: string): Promise<string> {
  const program = runScript(`commands/${file}.ts`, args, { ...environment, DATABASE_URL: url });
  await program.exited;
  return program.output();
}

const psql = async (file: string) =>
  (await promisify(execFile)("psql", [shopUrl, "-v", "schema=public", "-f", file])).stdout;
const psqlIsHere = (await findOnPath(["psql"])) !== undefined;
it.for<[what: string, uses: Record<string, () => Promise<string>>]>([
  [
    "a look",
    { "Reads ledger_": () => command("doctor", [shopUrl]), "behind PgBouncer": () => command("doctor", [], shopUrl) },
  ],
  [
    "a file by psql",
    {
      "CREATE INDEX": () => psql("config/postgres/indexes.sql"),
      "CREATE TABLE": () => psql("clients/go/outbox.sql"),
    },
  ],
])("after %s, the pool's settings are as before, and the application writes", async ([what, uses], { skip }) => {
  skip(what.includes("psql") && !psqlIsHere, "not on the PATH: psql");
  await run("alter role veza_ledger_sampler set search_path = public, pg_catalog");
  const before = [await settingsOf(shopUrl), await settingsOf(adminUrl)];
  for (const [done, use] of Object.entries(uses)) {
    expect((await use()).replaceAll(/\n {6,}/g, " ")).toContain(done);
    await sell(shopUrl);
    expect([await settingsOf(shopUrl), await settingsOf(adminUrl)], done).toEqual(before);
  }
});

it("is told by the doctor, with its version where that may be asked", async () => {
  await run("create role stranger login password 'stranger'");
  onTestFinished(() => run("drop role stranger"));
  const port = await startPgbouncer(serverUrl, { stranger: "stranger" });
  const poolerAt = async (url: string) =>
    poolerOf(await openConnection(url), parseDatabaseUrl(url), deadlineFor("the pooler", 60_000));
  const strangerUrl = urlAs("stranger:stranger", database.adminUrl);
  expect(await poolerAt(shopUrl)).toMatch(/^PgBouncer \d[\d.]+$/);
  expect(await poolerAt(strangerUrl.replace(/:\d+\//, `:${port}/`))).toBe("a pooler");
  expect(await poolerAt(strangerUrl)).toBeUndefined();
});

it("20 ticks beside other traffic count no hidden row as 0, and hide none from the application", async () => {
  await run(`
    alter table orders rename to all_orders;
    alter table all_orders enable row level security;
    alter table all_orders force row level security;
    create policy few on all_orders using (status = 'paid');
    create view orders as select * from all_orders;
    alter view orders owner to shop`);
  for (const check of checks) await run(insertRows(check, 5).replace("into orders", "into all_orders"));
  const before = await settingsOf(shopUrl);
  let isOver = false;
  const selling = sell(shopUrl, () => isOver);
  try {
    for (let tick = 0; tick < 20; tick += 1) {
      for (const outcome of await sampleAs(shopUrl)) {
        const expected = outcome.check.table === "orders" ? { error: { code: "42501" } } : { count: 5 };
        expect(outcome, `tick ${tick}`).toMatchObject(expected);
      }
    }
  } finally {
    isOver = true;
    await selling;
  }
  expect(await settingsOf(shopUrl)).toEqual(before);
});

it("logs in with the secret's new password, though the pooler refuses the old one by a code of its own", async () => {
  const url = shopUrl.replace("shop:shop@", "shop:old@");
  const asked: boolean[] = [];
  const connections = keepConnections("test")(async (fresh) => {
    asked.push(fresh);
    return parseDatabaseUrl(fresh ? shopUrl : url);
  });
  await connections.use(({ sql }) => sql`select`);
  await connections.closeFree();
  expect(asked).toEqual([false, true]);
  expect(await command("doctor", [], url)).toMatch(/✗ Postgres .*authentication failed\n +→ .* or a pooler lacks it: /);
});
