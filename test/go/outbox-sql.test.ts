// The outbox's SQL by itself, without Go. go-client.test.ts has what the client does with it.
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { runSqlFiles } from "../../commands/sql.ts";
import { databaseForTest } from "../helpers/database.ts";

/** A database of its own with an outbox. */
async function createOutbox() {
  const database = await databaseForTest();
  const make = () => runSqlFiles(database.adminUrl, ["clients/go/outbox.sql"]);
  const rollBack = () => runSqlFiles(database.adminUrl, ["clients/go/outbox.rollback.sql"]);
  await make();
  return { ...database, make, rollBack };
}

it("runs no function and no operator of whoever may create in public", async () => {
  const { admin, make, rollBack } = await createOutbox();
  const hostile = "returns boolean language plpgsql as $$ begin raise exception 'ran as %', current_user; end $$";
  const arguments_ = ["text, text, text", "name, text, text", "oid, text, text"];
  for (const types of arguments_) await admin.unsafe(`create function has_schema_privilege(${types}) ${hostile}`);
  for (const [left, operator, right] of [
    ["oid", "<>", "regrole"],
    ["oid", "=", "regclass"],
    ["oid", "=", "oid"],
    ["text", "!~", "text"],
    ["text", "~", "text"],
  ]) {
    await admin.unsafe(`create function "${operator}"(${left}, ${right}) ${hostile};
      create operator ${operator} (leftarg = ${left}, rightarg = ${right}, function = "${operator}")`);
  }
  await admin.unsafe(
    "alter database :name set search_path = public, pg_catalog".replace(":name", admin.options.database),
  );
  await make();
  await rollBack();
  await make();
});

it("refuses a table that another login has made in its name", async () => {
  const { admin, make } = await createOutbox();
  await admin`alter table public.ledger_metrics_outbox owner to veza_ledger_oncall`;
  await admin`drop index public.ledger_metrics_outbox_next`;
  await expect(make()).rejects.toThrow(
    "public.ledger_metrics_outbox belongs to veza_ledger_oncall, and not to who runs",
  );
  expect(await admin`select to_regclass('public.ledger_metrics_outbox_next') as made`).toEqual([{ made: null }]);
});

it("leaves a migration that goes on in its transaction the search_path that it had", async () => {
  const { admin, rollBack } = await createOutbox();
  await rollBack();
  const outbox = await readFile("clients/go/outbox.sql", "utf8");
  const migration = outbox.replace(/^begin;$/m, "").replace(/^commit;$/m, "");
  await admin`create table migrations (version int)`;
  await admin.unsafe(`${migration}; insert into migrations values (1)`); // One message, and so one transaction.
  expect(await admin`select version from migrations`).toEqual([{ version: 1 }]);
});

it("is taken away by its rollback, but not with deliveries that are not counted, and not a view of its name", async () => {
  const { admin, rollBack } = await createOutbox();
  await admin`insert into ledger_metrics_outbox (id, body, parked_at) values ('parked', '[]', now())`;
  await expect(rollBack()).rejects.toThrow("has deliveries that are not counted");
  expect(await admin`select from ledger_metrics_outbox`).toHaveLength(1);
  await admin`update ledger_metrics_outbox set parked_at = null, sent_at = now()`;
  await rollBack();
  await rollBack();
  expect(await admin`select from pg_class where relname like 'ledger_metrics_outbox%'`).toHaveLength(0);
  await admin`create view public.ledger_metrics_outbox as select 1 / 0 as fails, now() as sent_at`;
  await rollBack();
  expect(await admin`select from pg_class where relname like 'ledger_metrics_outbox%'`).toHaveLength(1);
});

/** The SQL that a file of the client has under a name. */
async function sqlIn(file: string) {
  const source = await readFile(`clients/go/ledgermetrics/${file}`, "utf8");
  const part = (name: string) => new RegExp(`${name}(?: =)? \`([^\`]*)\``).exec(source)?.[1] ?? "";
  return { source, part };
}

it("claims by the index alone, without sorting what waits", async () => {
  const { admin } = await createOutbox();
  await admin.unsafe(`insert into ledger_metrics_outbox (id, body, attempts)
    select 'row-' || n, '[]', n % 3 from generate_series(1, 20000) n;
    analyze ledger_metrics_outbox`);
  const { source, part } = await sqlIn("send.go");
  const orders = [...source.matchAll(/claim\w+SQL = claimBeginSQL \+ `([^`]*)` \+\s*(newestSQL)?/g)];
  expect(orders).toHaveLength(3);
  for (const [, which = "", newest] of orders) {
    const claim = part("claimBeginSQL") + which + (newest ? part("newestSQL") : "") + part("claimEndSQL");
    const plan = JSON.stringify(await admin.unsafe(`explain ${claim}`));
    expect(plan).toContain("ledger_metrics_outbox_next");
    expect(plan).not.toContain("Sort");
  }
});

it("counts and purges by an index, without reading the ids of one's own that stay for a year", async () => {
  const { admin } = await createOutbox();
  await admin.unsafe(`insert into ledger_metrics_outbox (id, body, sent_at)
    select 'evt-order-' || n, '[]', now() - interval '15 days' from generate_series(1, 20000) n;
    insert into ledger_metrics_outbox (id, body, sent_at) values
      ('evt-' || gen_random_uuid(), '[]', now() - interval '15 days'), ('old', '[]', now() - interval '366 days');
    analyze ledger_metrics_outbox`);
  for (const [index, condition] of [
    ["next", "sent_at is null and parked_at is null"],
    ["parked", "parked_at is not null"],
  ]) {
    const count = `explain select count(*), min(created_at) from ledger_metrics_outbox where ${condition}`;
    expect(JSON.stringify(await admin.unsafe(count))).toContain(`ledger_metrics_outbox_${index}`);
  }
  const { source, part } = await sqlIn("purge.go");
  const conditions = [...source.matchAll(/purgeBeginSQL \+\s*`([^`]*)` \+ purgeEndSQL/g)];
  expect(conditions).toHaveLength(2);
  for (const [, condition = ""] of conditions) {
    const purge = part("purgeBeginSQL") + condition + part("purgeEndSQL");
    const [explained] = await admin.unsafe(`explain (analyze, buffers, format json) ${purge}`);
    const plan = explained?.["QUERY PLAN"]?.at(0)?.Plan ?? {};
    const pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
    expect({ rows: plan["Actual Rows"], isSmall: pages < 50 }, `${pages} pages: ${condition}`).toEqual({
      rows: 1,
      isSmall: true,
    });
  }
});
