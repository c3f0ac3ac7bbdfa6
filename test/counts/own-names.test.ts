// Whoever may create in the ledger's schema, which is everybody before PostgreSQL 15, can make functions and operators
// there that fit better than Postgres' own. None of them runs as the sampler, or makes a count wrong.

import { expect, it } from "vitest";
import { runSqlFiles, setUp } from "../../commands/sql.ts";
import { checks, plain, rowsOf } from "../../lib/counts/checks.ts";
import { oldestRowsOf } from "../../lib/counts/counted-rows.ts";
import { beginReading } from "../../lib/postgres/transaction.ts";
import { databaseForTest, openConnection } from "../helpers/database.ts";
import { captureLog } from "../helpers/log.ts";
import { insertRows } from "../helpers/models.ts";
import { countsIn, sampleOf } from "../helpers/sample.ts";

const types = ["text", "varchar", "name", "name[]", "text[]", "oid", "regclass", "timestamptz", "timestamp", "interval"]
  .concat(["date", "numeric", "bigint", "integer", "boolean", "jsonb", '"char"', "float8"])
  .map((type) => `'${type}'`);
const operators = ["=", "<>", "<", ">", "<=", ">=", "+", "-", "~"].map((operator) => `'${operator}'`);

/** SQL: for each pair of types, each operator; for each type, each function of Postgres' that takes any, or a table. */
const hostile = `
  create type state as enum (${[...new Set(checks.map(({ status }) => `'${status}'`))]});
  create domain text_of_ours as text;
  do $do$
  declare
    body constant text := 'language plpgsql as $$ begin raise exception ''ran as %'', current_user; end $$';
    types constant text[] := array[${types}, 'state', 'text_of_ours'];
    one record;
  begin
    for one in select * from unnest(types) as a, unnest(types) as b, unnest(array[${operators}]) as operator loop
      execute format('create function %I(%s, %s) returns boolean %s', one.operator, one.a, one.b, body);
      execute format('create operator %s (leftarg = %s, rightarg = %s, function = %4$I)', one.operator, one.a, one.b,
        one.operator);
    end loop;
    for one in select distinct proname, a from pg_proc, unnest(types) as a
      where pronamespace = 'pg_catalog'::regnamespace and pronargs = 1
        and proargtypes[0]::regtype::text in ('"any"', 'anyelement', 'anyarray', 'regclass')
    loop
      execute format('create function %I(%s) returns text %s', one.proname, one.a, body);
    end loop;
  end $do$`;

it.each(["varchar(20)", "state", "text_of_ours"])("a status of the type %s", async (type) => {
  const log = captureLog();
  const database = await databaseForTest();
  const run = (statements: string) => database.admin.unsafe(statements);
  await run(hostile);
  await runSqlFiles(database.adminUrl, setUp); // Nor as an administrator.
  await run(`set search_path = pg_catalog, public;
    alter table orders alter status type ${type} using status::${type}, alter hyperswitch_payment_id type varchar(64);
    alter table refunds alter status type ${type} using status::${type}, alter hyperswitch_refund_id type varchar(64);
    alter table seller_transfers alter status type ${type} using status::${type}`);
  for (const check of checks) await run(`set search_path = pg_catalog, public; ${insertRows(check, 3)}`);
  await run(`set search_path = pg_catalog; insert into ledger_metrics.accepted ("check", id, up_to, until, why) values
    ('stuck_orders', '1', null, now() + '1 day', 'x'), ('stuck_refunds', null, now(), now() + '1 day', 'x')`);
  const { outcomes, unread, unaccepted } = await sampleOf(database.samplerUrl);
  expect(countsIn(outcomes, (error) => error)).toEqual(Object.fromEntries(checks.map(({ id }) => [id, 3])));
  expect([unread, [...unaccepted.keys()], log]).toEqual([[], ["stuck_orders", "stuck_refunds"], []]);
  const { sql, ledger } = await openConnection(database.samplerUrl);
  for (const check of checks) await sql.unsafe(beginReading(ledger) + oldestRowsOf(check, true));
});

it.each([
  [
    "a view",
    "create view ledger_metrics_outbox as select now() as created_at, now() as parked_at, now() as sent_at where trap()",
  ],
  [
    "a table with times of its own type",
    `create type moment as enum ('a'); create function moment(moment) returns timestamptz language sql as 'select now() where trap()';
     create cast (moment as timestamptz) with function moment(moment) as implicit;
     create table ledger_metrics_outbox as select 'a'::moment as created_at, null::timestamptz as parked_at, null::timestamptz as sent_at`,
  ],
])("%s in the place of the outbox is not read", async (_, made) => {
  const log = captureLog();
  const database = await databaseForTest();
  await database.admin.unsafe(`create function trap() returns boolean language plpgsql as
    $$ begin raise exception 'ran as %', current_user; end $$; ${made}; grant select on ledger_metrics_outbox to public`);
  const { unread } = await sampleOf(database.samplerUrl);
  expect([unread, log]).toEqual([[], []]);
});

it("people read the same conditions without the schema of operators", () => {
  for (const check of checks) expect(plain(rowsOf(check))).not.toMatch(/pg_catalog|operator/);
});
