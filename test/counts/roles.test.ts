// config/postgres/roles.sql, and what the functions say of each transaction in its place.

import { readFile } from "node:fs/promises";
import postgres from "postgres";
import { afterAll, expect, it, vi } from "vitest";
import { executors } from "../../commands/declared-rights.ts";
import { runSqlFiles, setUp, textOf } from "../../commands/sql.ts";
import { readTimeoutMs } from "../../lib/limits.ts";
import { beginPublishing, beginReading, beginWriting } from "../../lib/postgres/transaction.ts";
import { serverForFile, urlAs } from "../helpers/database.ts";

const url = (await serverForFile()).replace(/\w+$/, "ledger");
const admin = postgres(url, { max: 4, onnotice: () => {} });
afterAll(() => admin.end());
await admin.unsafe("alter role veza_ledger password 'both'; alter role veza_ledger_oncall password 'oncall'");
const another = url.replace(/\w+$/, "another");
await admin.unsafe("create database another");
await runSqlFiles(another, ["local/ledger.sql"]);
const hostile = `
  alter database ledger set search_path = evil, pg_catalog, public;
  alter database ledger set timezone = 'Asia/Tokyo';
  alter database ledger set statement_timeout = '30s';
  alter database ledger set default_transaction_isolation = 'serializable';
  alter database ledger set default_transaction_read_only = on;
  alter database ledger set synchronous_commit = off;
  alter database ledger set row_security = on`;
const names = "search_path TimeZone row_security jit statement_timeout lock_timeout transaction_isolation".split(" ");
const shown = (...more: string[]) =>
  `select ${[...names, "transaction_read_only", ...more].map((name) => `current_setting('${name}') as "${name}"`)}`;

it("says all settings in each transaction, whatever the database's own are, and people on call have theirs", async () => {
  await admin.unsafe(hostile);
  await admin.unsafe(`create schema evil; grant usage on schema evil to public;
    create function evil.set_config(text, text, boolean) returns text language sql as 'select null::text'`);
  const sql = postgres(urlAs("veza_ledger:both", url), { max: 1, fetch_types: false });
  const last = async (question: string) => ((await sql.unsafe(question)) as unknown as object[][]).at(-1)?.[0];
  const both = { transaction_isolation: "read committed" };
  expect(await last(beginReading({ schema: "public", timeZone: "Europe/Paris" }) + shown())).toMatchObject({
    ...both,
    search_path: "pg_catalog, pg_temp",
    TimeZone: "Europe/Paris",
    row_security: "off",
    jit: "off",
    transaction_read_only: "on",
    statement_timeout: `${readTimeoutMs}ms`,
    lock_timeout: "500ms",
  });
  expect(await last(beginWriting + shown("synchronous_commit"))).toMatchObject({
    ...both,
    search_path: "pg_catalog, pg_temp",
    transaction_read_only: "off",
    synchronous_commit: "on",
    statement_timeout: "3s",
    lock_timeout: "2s",
  });
  // A publisher that is frozen keeps the lock for so long.
  const silence = "idle_in_transaction_session_timeout";
  expect(await last(beginPublishing + shown(silence))).toMatchObject({ ...both, [silence]: "10s", lock_timeout: "2s" });
  await sql.end();
  const oncall = postgres(urlAs("veza_ledger_oncall:oncall", url), { max: 1 });
  expect(await oncall.unsafe(shown())).toMatchObject([
    {
      search_path: "pg_catalog, pg_temp",
      TimeZone: "UTC",
      row_security: "off",
      transaction_read_only: "on",
      statement_timeout: "10s",
      lock_timeout: "2s",
    },
  ]);
  await oncall.end();
});

it("has twice the connections that setup/aws/stage.yml lets receivers use: one that ends may leave its own", async () => {
  const [, concurrency] = /receiverConcurrency: (\d+)/.exec(await readFile("setup/aws/stage.yml", "utf8")) ?? [];
  const limits = await admin`
    select rolconnlimit, rolconfig, current_setting('server_version_num')::int as version
    from pg_roles where rolname ~ '^veza_ledger(_receiver)?$'`;
  for (const { rolconnlimit, rolconfig, version } of limits) {
    expect(rolconnlimit).toBeGreaterThanOrEqual(2 * Number(concurrency));
    if (version >= 140_000) expect(rolconfig).toEqual(["idle_session_timeout=1min"]); // Ends what it has left.
  }
});

it("takes from PUBLIC what it has in ledger_metrics", async () => {
  await admin.unsafe("grant usage on schema ledger_metrics to public; grant select on ledger_metrics.totals to public");
  await admin.unsafe("grant execute on function ledger_metrics.amounts() to public"); // As of a dump without rights.
  await runSqlFiles(url, setUp);
  const ofPublic = await admin`
    select relname from pg_class, aclexplode(relacl) as acl
    where relnamespace = 'ledger_metrics'::regnamespace and acl.grantee = 0
    union all
    select nspname from pg_namespace, aclexplode(nspacl) as acl where nspname = 'ledger_metrics' and acl.grantee = 0
    union all
    select proname from pg_proc, aclexplode(proacl) as acl
    where pronamespace = 'ledger_metrics'::regnamespace and acl.grantee = 0`;
  expect(ofPublic).toEqual([]);
});

it("lets whom declared-rights.ts names execute the functions of ledger_metrics, and nobody else", async () => {
  const rows = await admin`
    select proname, array_agg(case grantee when 0 then 'public' else pg_get_userbyid(grantee) end) as roles
    from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) as acl
    where pronamespace = 'ledger_metrics'::regnamespace and grantee <> proowner
    group by proname`;
  const allowed = rows.map(({ proname, roles }) => [proname, roles.toSorted()]);
  const declared = (name: string) => (name === "amounts" ? executors.amounts : executors.rows);
  expect(allowed).toEqual(rows.map(({ proname }) => [proname, declared(proname).toSorted()]));
  expect(rows.map(({ proname }) => proname)).toEqual(expect.arrayContaining(["amounts", "accept"]));
});

it.each(["install.sql", "uninstall.sql"])(
  "%s ends by itself where psql is cut off, and its locks too",
  async (file) => {
    const text = (await textOf(`config/postgres/${file}`, "ledger")).replace(/^commit;$/m, "");
    const session = await admin.reserve();
    const [row] = await session.unsafe(text).then(() => session.unsafe("show idle_in_transaction_session_timeout"));
    await session.unsafe("rollback");
    session.release();
    expect(row).toEqual({ idle_in_transaction_session_timeout: "10s" });
  },
);

it.each([
  ["are there", ""],
  ["are not there yet", "config/postgres/uninstall.sql"],
])("waits for who runs it for another database of the server, where the roles %s", async (_, before) => {
  if (before) await runSqlFiles(url, [before]);
  const first = await admin.reserve();
  for (const file of setUp) await first.unsafe((await textOf(file, "ledger")).replace(/^commit;$/m, ""));
  const second = runSqlFiles(another, setUp).then(
    () => "committed",
    (error: Error) => error.message,
  );
  // For longer than for a lock on a table.
  const waits = async () =>
    expect(
      await admin`select from pg_locks join pg_stat_activity using (pid)
        where not granted and query_start < clock_timestamp() - interval '2500 milliseconds'`,
    ).toHaveLength(1);
  await Promise.race([second, vi.waitFor(waits, { timeout: 60_000, interval: 20 })]);
  await first.unsafe("commit");
  first.release();
  expect(await second).toBe("committed");
  await runSqlFiles(another, ["config/postgres/uninstall.sql"]);
});

it("is taken back whole, also in part, and twice, and no login of the application's is", async () => {
  await admin.unsafe(
    "create role veza_app; drop owned by veza_ledger_oncall; drop role veza_ledger_oncall; create role veza_ledger_oncall",
  );
  const back = ["config/postgres/uninstall.sql"];
  await runSqlFiles(url, [...back, ...back]);
  const left = await admin`select rolname from pg_roles where rolname like 'veza%' order by 1`;
  expect(left.map(({ rolname }) => rolname)).toEqual(["veza_app", "veza_ledger_oncall"]); // Another application's, by its comment.
});
